/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines of stile-turn, one row each in turn/log_msgs.def. What a stranger can cause again and
 * again goes through struct log_gate (common/log.h), which lets a bounded number of lines through
 * in a second and counts the rest.
 */
#pragma once
#include "common/log.h"

#define MSG(name, id, level, text, advice) extern const struct log_msg MSG_##name;
#include "turn/log_msgs.def"
#undef MSG
