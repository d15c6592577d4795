/* SPDX-License-Identifier: Apache-2.0 */
/* A write behind the end of an array, for the static analysis to see. */
int beyond(void);

int beyond(void)
{
	int few[4] = { 0 };

	few[4] = 1;
	return few[0];
}
