/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects behind the messages of gateway/.
 *
 * Nothing is written here: each row of log_msgs.def becomes one constant, which log_emit() takes by
 * its address.
 */
#include "gateway/log_msgs.h"

#define MSG(name, id_, level_, text_, advice_)                                                     \
	const struct log_msg MSG_##name = { .id = (id_), .level = LOG_LVL_##level_, .text = (text_),  \
					    .advice = (advice_) };
#include "gateway/log_msgs.def"
#undef MSG
