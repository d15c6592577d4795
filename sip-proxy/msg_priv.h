/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the message library: the table of header names, which
 * sip_headers_init() fills in. It is constant from then on, and the only thing in sip-proxy/
 * that all threads share.
 */
#pragma once
#include "sip-proxy/msg.h"

extern struct header_table sip_header_table;
