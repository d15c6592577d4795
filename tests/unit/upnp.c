/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread around miniupnpc (tunnel/direct/upnp.h), with a router that the test plays: the library's calls are answered here. How
 * the library speaks to real ones is seen in tests/netns.
 */
#include "tunnel/direct/upnp.h"
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/support.h"

static atomic_int there; /* the router that answers: 1, 2 …; 0: none */
static atomic_int mappings;

/* ---- the router ---- */

struct UPNPDev *upnpDiscover(int delay, const char *interface, const char *path, int port, int v6, unsigned char ttl, int *error)
{
	struct UPNPDev *d = there ? calloc(1, sizeof(*d)) : NULL;

	(void)delay;
	(void)interface;
	(void)path;
	(void)port;
	(void)v6;
	(void)ttl;
	*error = 0;
	return d;
}

void freeUPNPDevlist(struct UPNPDev *d)
{
	free(d);
}

int UPNP_GetValidIGD(struct UPNPDev *d, struct UPNPUrls *urls, struct IGDdatas *data, char *lan, int n)
{
	(void)d;
	(void)data;
	memset(urls, 0, sizeof(*urls));
	snprintf(lan, (size_t)n, "192.168.7.2");
	urls->controlURL = malloc(8);
	snprintf(urls->controlURL, 8, "%d", (int)there);
	return 1;
}

void FreeUPNPUrls(struct UPNPUrls *urls)
{
	free(urls->controlURL);
	urls->controlURL = NULL;
}

static bool answers(const char *url)
{
	return there && atoi(url) == there;
}

int UPNP_GetExternalIPAddress(const char *url, const char *service, char *ip)
{
	(void)service;
	snprintf(ip, 16, "203.0.113.%d", (int)there);
	return answers(url) ? UPNPCOMMAND_SUCCESS : UPNPCOMMAND_HTTP_ERROR;
}

int UPNP_AddPortMapping(const char *url, const char *service, const char *outside, const char *port, const char *inside, const char *what,
			const char *protocol, const char *from, const char *lease)
{
	(void)service;
	(void)outside;
	(void)port;
	(void)inside;
	(void)what;
	(void)protocol;
	(void)from;
	(void)lease;
	mappings += answers(url);
	return answers(url) ? UPNPCOMMAND_SUCCESS : UPNPCOMMAND_HTTP_ERROR;
}

int UPNP_DeletePortMapping(const char *url, const char *service, const char *port, const char *protocol, const char *from)
{
	(void)service;
	(void)port;
	(void)protocol;
	(void)from;
	mappings -= answers(url);
	return answers(url) ? UPNPCOMMAND_SUCCESS : UPNPCOMMAND_HTTP_ERROR;
}

/* ---- this side ---- */

struct world {
	struct loop *l;
	struct upnp *u;
	struct addr outside;
	uint32_t number;
	struct timer patience;
};

static void on_mapped(uint32_t number, const struct addr *outside, void *arg)
{
	struct world *w = arg;

	w->number = number;
	w->outside = *outside;
	loop_stop(w->l);
}

static void on_patience(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
	fail_msg("no answer in 20 s");
}

static void expect(struct world *w, uint32_t number, const char *outside)
{
	const struct addr inside = addr_v4(0xc0a80702, 5000);
	char at[ADDR_STRLEN] = "";

	assert_int_equal(upnp_map(w->u, number, &inside, false), 0);
	loop_timer_set(w->l, &w->patience, 20000);
	assert_int_equal(loop_run(w->l), 0);
	assert_int_equal(w->number, number);
	assert_string_equal(addr_family(&w->outside) == AF_UNSPEC ? "" : addr_print(&w->outside, at), outside);
}

static void open_world(struct world *w)
{
	const struct addr everybody = addr_v4(0xeffffffa, 1900);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r = connect(fd, &everybody.sa, addr_len(&everybody));

	close(fd);
	if (r < 0)
		skip(); /* no network: nobody is asked */
	memset(w, 0, sizeof(*w));
	w->patience.fire = on_patience;
	assert_int_equal(loop_new(&w->l), 0);
	assert_int_equal(upnp_new(w->l, on_mapped, w, &w->u), 0);
}

static void close_world(struct world *w)
{
	timer_stop(&w->patience);
	upnp_free(w->u);
	loop_free(w->l);
}

static void what_was_opened_is_closed_at_the_end(void **state)
{
	struct world w;

	(void)state;
	there = 1;
	open_world(&w);
	expect(&w, 1, "203.0.113.1:5000");
	assert_int_equal(mappings, 1);
	close_world(&w);
	assert_int_equal(mappings, 0);
}

static void another_router_is_found_when_the_one_before_has_gone(void **state)
{
	struct world w;

	(void)state;
	there = 1;
	open_world(&w);
	expect(&w, 1, "203.0.113.1:5000");
	there = 2; /* another network, or the same router after a restart, at another port */
	expect(&w, 2, "203.0.113.2:5000");
	there = 0;
	expect(&w, 3, "");
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_opened_is_closed_at_the_end),
		cmocka_unit_test(another_router_is_found_when_the_one_before_has_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
