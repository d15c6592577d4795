/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the rows of log_msgs.def into objects. */
#include "common/log_msgs.h"

#define MSG(name, id_, level_, text_, advice_)                                                     \
	const struct log_msg MSG_##name = { .id = (id_), .level = LOG_LVL_##level_, .text = (text_),  \
					    .advice = (advice_) };
#include "common/log_msgs.def"
#undef MSG
