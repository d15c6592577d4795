/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines of stile-tunnel and of the relay, one row each in tunnel/log_msgs.def. Those that
 * are events of the original product carry its number in the field "event" and are emitted by events.c alone:
 * docs/reference/relay-events.md. The lines of single connections stand in the connection log as well.
 */
#pragma once
#include "common/log.h"

#define MSG(name, id, level, text, advice) extern const struct log_msg MSG_##name;
#include "tunnel/log_msgs.def"
#undef MSG
