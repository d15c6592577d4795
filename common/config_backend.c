/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two kinds of places that a configuration names and that are no addresses: a Unix socket ("unix:/run/x.sock"),
 * and a backend, which is the service itself by its name, a Unix socket, or an address with a port. See
 * config_types.c for what a parse function promises.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/config_priv.h"

int cfg_unix_path_parse(struct text t, char path[static CFG_UNIX_PATH], char *err, size_t err_n)
{
	if (!t.n || t.p[0] != '/') {
		snprintf(err, err_n, "must name a Unix socket by its whole path, as unix:/run/stile/turn-443.sock, not 'unix:%.*s%s'",
			 CFG_SHOWN(t));
		return -EINVAL;
	}
	if (t.n >= CFG_UNIX_PATH) {
		snprintf(err, err_n, "must be a path of at most %d bytes", CFG_UNIX_PATH - 1);
		return -EINVAL;
	}
	memcpy(path, t.p, t.n);
	path[t.n] = 0;
	return cfg_text_check(t, err, err_n);
}

static int parse_backend(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	static const struct text unix_prefix = TEXT("unix:");
	struct cfg_backend b = { .self = row->choices && text_eq(t, text_of(row->choices[0])) };
	int r = 0;

	if (!b.self && text_starts(t, unix_prefix)) {
		r = cfg_unix_path_parse(text_drop(t, unix_prefix.n), b.path, err, err_n);
	} else if (!b.self && (addr_parse(t, 0, &b.at) < 0 || !addr_port(&b.at))) {
		snprintf(err, err_n, "must be %s%sunix:/path/of/a.sock or an address with a port, as 127.0.0.1:8443, not '%.*s%s'",
			 row->choices ? row->choices[0] : "", row->choices ? ", " : "", CFG_SHOWN(t));
		r = -EINVAL;
	}
	if (r == 0)
		*(struct cfg_backend *)dst = b;
	return r;
}

void cfg_backend_print(const struct cfg_backend *b, const char *self, char buf[static CFG_BACKEND_STRLEN])
{
	char at[ADDR_STRLEN];

	if (b->self)
		snprintf(buf, CFG_BACKEND_STRLEN, "%s", self);
	else if (b->path[0])
		snprintf(buf, CFG_BACKEND_STRLEN, "unix:%s", b->path);
	else
		snprintf(buf, CFG_BACKEND_STRLEN, "%s", addr_print(&b->at, at));
}

static void print_backend(const struct cfg_row *row, const void *src, struct sb *out)
{
	char buf[CFG_BACKEND_STRLEN];

	cfg_backend_print(src, row->choices ? row->choices[0] : "", buf);
	sb_str(out, buf);
}

const struct cfg_type cfg_backend = { "backend", sizeof(struct cfg_backend), "unix:/run/nginx-443.sock", parse_backend, print_backend, NULL };
