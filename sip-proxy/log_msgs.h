/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines of stile-sip, one row each in sip-proxy/log_msgs.def. What a stranger can cause again and again goes
 * through a gate (sip-proxy/answer.c), which lets a bounded number of lines through in a second and counts the rest. The
 * objects are log_msgs.c's.
 */
#pragma once
#include "common/log.h"

#define MSG(name, id, level, text, advice) extern const struct log_msg MSG_##name;
#include "sip-proxy/log_msgs.def"
#undef MSG
