/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the addresses in a table (PTR records), all asked for at once, by c-ares as common/dns does.
 *
 * The table is shown after two seconds at most, with the names that are known by then. The service asks for those of
 * TCP sources itself, unless tunnel.resolve_names is off.
 */
#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include "cli/relay.h"
#include "common/clock.h"

enum { PATIENCE_MS = 2000, MAX_WATCHED = 16 };

static void on_name(void *arg, int status, int timeouts, char *node, char *service)
{
	json_t *known = arg; /* the address's entry: an object with its name */

	(void)timeouts;
	(void)service;
	if (status == ARES_SUCCESS && node)
		json_object_set_new(known, "name", json_string(node));
}

static void ask(ares_channel ch, json_t *known, const char *source)
{
	struct addr a;
	char ip[ADDR_STRLEN];
	json_t *entry;

	if (addr_parse(text_of(source), 0, &a) < 0 || json_object_get(known, addr_print_ip(&a, ip)))
		return;
	entry = json_object();
	if (json_object_set_new(known, ip, entry) == 0)
		ares_getnameinfo(ch, &a.sa, addr_len(&a), ARES_NI_NAMEREQD | ARES_NI_LOOKUPHOST, on_name, entry);
}

/* Until all have answered or patience is over. */
static void run(ares_channel ch)
{
	uint64_t until = clock_steady_ms() + PATIENCE_MS, now;

	while ((now = clock_steady_ms()) < until) {
		ares_socket_t socks[ARES_GETSOCK_MAXNUM];
		unsigned bits = (unsigned)ares_getsock(ch, socks, ARES_GETSOCK_MAXNUM); /* to read from, then to write to */
		struct pollfd p[MAX_WATCHED];
		struct timeval left = { .tv_sec = (time_t)(until - now) / 1000, .tv_usec = (suseconds_t)((until - now) % 1000 * 1000) }, tv;
		nfds_t n = 0;
		for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM && n < MAX_WATCHED; i++) {
			short want = (short)((bits >> i & 1 ? POLLIN : 0) | (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));
			if (want)
				p[n++] = (struct pollfd){ .fd = socks[i], .events = want };
		}
		if (!n)
			return;
		struct timeval *wait = ares_timeout(ch, &left, &tv);
		poll(p, n, (int)(wait->tv_sec * 1000 + wait->tv_usec / 1000) + 1);
		for (nfds_t i = 0; i < n; i++)
			ares_process_fd(ch, p[i].revents & (POLLIN | POLLERR | POLLHUP) ? p[i].fd : ARES_SOCKET_BAD,
					p[i].revents & POLLOUT ? p[i].fd : ARES_SOCKET_BAD);
		ares_process_fd(ch, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* time-outs */
	}
}

static void fill(const json_t *known, json_t *row)
{
	const char *source = json_string_value(json_object_get(row, "source"));
	struct addr a;
	char ip[ADDR_STRLEN];

	if (!source || addr_parse(text_of(source), 0, &a) < 0)
		return;
	json_t *name = json_object_get(json_object_get(known, addr_print_ip(&a, ip)), "name");
	if (name)
		json_object_set(row, "source_name", name);
}

void names_add(json_t *rows)
{
	json_t *known = json_object(), *row;
	ares_channel ch;
	size_t i;

	if (ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS && ares_init(&ch) == ARES_SUCCESS) {
		json_array_foreach(rows, i, row)
			ask(ch, known, json_string_value(json_object_get(row, "source")) ? json_string_value(json_object_get(row, "source")) : "");
		run(ch);
		ares_destroy(ch); /* what is still asked for is told so, and has no name */
		ares_library_cleanup();
	}
	json_array_foreach(rows, i, row)
		fill(known, row);
	json_decref(known);
}
