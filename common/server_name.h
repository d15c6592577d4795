/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names as TLS clients ask for them (SNI, RFC 6066 3) against the names that a configuration lists:
 * ASCII letters whatever their case, a dot at the end or none, and "*.example.org" for any one label in
 * front (RFC 6125 6.4.3), never for more or for the bare domain.
 */
#pragma once
#include "common/text.h"

/* NULL if the pattern can match a host name, else a sentence without its subject that says why not. */
const char *server_name_fault(struct text pattern);
/* 2: the very name, 1: by its wildcard, 0: not. So the best of several patterns is the highest. */
int server_name_match(struct text pattern, struct text name);
