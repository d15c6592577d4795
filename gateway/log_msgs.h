/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of stile-gateway: MSG_NAME for log_emit(), from the rows of log_msgs.def.
 * A new one is a row there.
 * No content and no secret is ever in a line.
 */
#pragma once
#include "common/log.h"

#define MSG(name, id_, level_, text_, advice_) extern const struct log_msg MSG_##name;
#include "gateway/log_msgs.def"
#undef MSG
