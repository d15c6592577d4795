/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of sip-proxy/log_msgs.def, made into constants. A new line of the log is a row of that file; this one stays
 * as it is. The lint test holds that somebody emits each row, and a row's text is shown in the error catalogue, with
 * its advice for the administrator.
 */
#include "sip-proxy/log_msgs.h"

#define MSG(name, id_, level_, text_, advice_)                                                     \
	const struct log_msg MSG_##name = {                                                        \
		.id = id_, .level = LOG_LVL_##level_, .text = text_, .advice = advice_             \
	};
#include "sip-proxy/log_msgs.def"
#undef MSG
