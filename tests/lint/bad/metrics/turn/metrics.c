/* SPDX-License-Identifier: Apache-2.0 */
/* A metric that the page does not have. */
static const char *const known = "stile_turn_known_total";
static const char *const secret = "stile_turn_secret_total";
