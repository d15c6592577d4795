/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console/openapi.json as bytes: the build makes the source of it, the console serves it.
 *
 * Nobody reads it here: it is for whoever writes a client, and for programs that make one. tests/console/api.py holds it
 * against the routes, both ways.
 */
#pragma once
#include <stddef.h>

extern const unsigned char console_openapi[];
extern const size_t console_openapi_n;
