/* SPDX-License-Identifier: Apache-2.0 */
#include "turn/alloc_priv.h"
#include "turn/client.h"
#include "tests/api.h"
