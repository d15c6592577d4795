/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's view of sockets that this test has made itself: a listener, a connection with bytes that nobody reads, a
 * UDP socket. Where the sandbox allows no sock_diag, there is nothing to be seen, and that is said.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/sock_diag.h"
#include "common/stream.h"

struct want {
	uint16_t port;
	const uint32_t *own;
	size_t n_own;
	unsigned listeners, waiting, own_ones, udp;
};

static void look(const struct sock_diag *s, void *arg)
{
	struct want *w = arg;

	if (addr_port(&s->local) != w->port)
		return;
	w->own_ones += sock_diag_is_own(w->own, w->n_own, s->inode);
	if (s->udp)
		w->udp++;
	else if (strcmp(s->state, "listen") == 0)
		w->listeners++;
	else if (s->recv_queue == 5)
		w->waiting++;
}

static void own_sockets_are_found_with_their_queues(void **state)
{
	struct addr at = addr_v4(0x7f000001, 0);
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	struct want w = { 0 };
	uint32_t *own;
	int listener, r, client = socket(AF_INET, SOCK_STREAM, 0), accepted, udp = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ 0 }, &listener), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&ss, &n), 0);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, n, &at), 0);
	w.port = addr_port(&at);
	assert_int_equal(connect(client, &at.sa, addr_len(&at)), 0);
	assert_int_equal(bind(udp, &at.sa, addr_len(&at)), 0);
	do
		accepted = accept(listener, NULL, NULL);
	while (accepted < 0 && errno == EAGAIN);
	assert_true(accepted >= 0);
	assert_int_equal(send(client, "hello", 5, 0), 5);
	own = sock_diag_own(&w.n_own);
	assert_non_null(own);
	w.own = own;
	r = sock_diag_each(look, &w);
	if (r < 0) {
		print_message("no sock_diag here: %s\n", strerror(-r));
		skip();
	}
	assert_int_equal(w.listeners, 1);
	assert_int_equal(w.waiting, 1);
	assert_int_equal(w.udp, 1);
	assert_int_equal(w.own_ones, 3);
	assert_false(sock_diag_is_own(own, w.n_own, 0));
	free(own);
	close(client);
	close(accepted);
	close(listener);
	close(udp);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(own_sockets_are_found_with_their_queues) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
