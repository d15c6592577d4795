/* SPDX-License-Identifier: Apache-2.0 */
static const struct row rows[] = {
	[EVENT_GOOD]   = { 100, &MSG_GOOD,  "Service started" },
	[EVENT_SILENT] = { 101, &MSG_SILENT,   "Could not bind to local port %l[: %r]" },
};
