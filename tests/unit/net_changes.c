/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/net_changes in a network namespace of its own, where the test adds rules of routing. Skipped where no
 * namespace may be made.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/net_changes.h"

enum { SKIPPED = 77, WAIT_MS = 2000 };

struct hearing {
	struct loop *loop;
	bool heard;
};

static void on_changed(void *arg)
{
	struct hearing *h = arg;

	h->heard = true;
	loop_stop(h->loop);
}

static struct loop *running;

static void give_up(struct timer *t, uint64_t now)
{
	(void)t, (void)now;
	loop_stop(running);
}

/* A rule "from all lookup 100". 0 or -1. */
static int add_rule(unsigned char family)
{
	struct {
		struct nlmsghdr h;
		struct fib_rule_hdr rule;
	} q = { .h = { .nlmsg_len = sizeof q, .nlmsg_type = RTM_NEWRULE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE },
		.rule = { .family = family, .table = 100, .action = FR_ACT_TO_TBL } };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int r = fd >= 0 && send(fd, &q, sizeof q, 0) == (ssize_t)sizeof q ? 0 : -1;

	if (fd >= 0)
		close(fd);
	return r;
}

/* In a child. 0: it was heard of exactly if it should be. */
static int listen_for(unsigned char family, unsigned also)
{
	struct hearing h = { 0 };
	struct net_changes *n = NULL;
	struct timer end = { .fire = give_up };
	int r = 1;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return SKIPPED;
	if (loop_new(&h.loop) < 0)
		return r;
	running = h.loop;
	if (net_changes_new_with(h.loop, &(struct net_changes_options){ .also = also, .settle_ms = 1 }, on_changed, &h, &n) == 0 &&
	    add_rule(family) == 0) {
		loop_timer_set(h.loop, &end, also ? WAIT_MS : 200);
		(void)loop_run(h.loop);
		r = h.heard != (also != 0);
	}
	timer_stop(&end);
	net_changes_free(n);
	loop_free(h.loop);
	return r;
}

static void rules_are_heard_of(unsigned char family)
{
	for (unsigned asked = 0; asked < 2; asked++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(listen_for(family, asked ? NET_CHANGES_RULES : 0));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == SKIPPED)
			skip();
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

static void a_rule_for_ipv4_is_heard_of_by_whom_it_concerns(void **state)
{
	(void)state;
	rules_are_heard_of(AF_INET);
}

static void a_rule_for_ipv6_is_heard_of_by_whom_it_concerns(void **state)
{
	(void)state;
	rules_are_heard_of(AF_INET6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_for_ipv4_is_heard_of_by_whom_it_concerns),
		cmocka_unit_test(a_rule_for_ipv6_is_heard_of_by_whom_it_concerns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
