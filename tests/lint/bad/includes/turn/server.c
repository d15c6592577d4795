/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake.h"
#include "stun/codec_priv.h"
#include "turn/own_priv.h"
