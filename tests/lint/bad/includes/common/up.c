/* SPDX-License-Identifier: Apache-2.0 */
#include "stun/msg.h"
#include "common/good.h"
#include <stdio.h>
