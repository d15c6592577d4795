/* SPDX-License-Identifier: Apache-2.0 */
#include <a.h>
/* late */
