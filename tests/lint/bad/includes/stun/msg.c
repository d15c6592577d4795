/* SPDX-License-Identifier: Apache-2.0 */
#include "turn/server.h"
#include "msg.h"
#include "../common/good.h"
#include <common/good.h>
