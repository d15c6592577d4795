/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of stile-console, one row each in log_msgs.def.
 *
 * Names only: the texts are in the table, log_msgs.c owns the objects, and a test holds that each
 * id is emitted somewhere.
 */
#pragma once
#include "common/log.h"

#define MSG(name, id_, level_, text_, advice_) extern const struct log_msg MSG_##name;
#include "console/log_msgs.def"
#undef MSG
