/* SPDX-License-Identifier: Apache-2.0 */
#include "common/thing.h"

int thing_new(void)
{
	return 0;
}

void thing_alone(int a, int b)
{
	(void)(a + b + thing_new());
}
