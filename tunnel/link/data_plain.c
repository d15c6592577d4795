/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data connections over plain carriers (encrypt: false): two sockets joined and spliced by common/joint. No frames, no
 * offsets, no resumption: who listens on the way reads, and a lost connection is lost. What is common with the
 * others is how they are shown, tapped, limited, killed, and told of.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/stream.h"
#include "tunnel/link/data_priv.h"

static void on_want_b(struct joint *j, int err, const char *why, void *arg)
{
	(void)arg;
	joint_refuse(j, err, why);
}

static void on_open(struct joint *j, void *arg)
{
	struct data_conn *d = arg;

	(void)j;
	if (d->state == DATA_WAITING)
		d->state = d->opened_known ? DATA_OPEN : DATA_OPENING;
}

static void on_tap(struct joint *j, enum joint_way w, const uint8_t *p, size_t n, void *arg)
{
	struct data_conn *d = arg;

	(void)j;
	if (d->tapped && d->ops->tap)
		d->ops->tap(d, w == JOINT_UP ? DATA_UP : DATA_DOWN, p, n, d->arg);
}

static size_t on_room(struct joint *j, enum joint_way w, size_t want, void *arg)
{
	struct data_conn *d = arg;

	(void)j;
	return d->ops->room ? d->ops->room(d, w == JOINT_UP ? DATA_UP : DATA_DOWN, want, d->arg) : want;
}

static void on_passed(struct joint *j, enum joint_way w, size_t n, void *arg)
{
	struct data_conn *d = arg;

	(void)j;
	if (d->ops->passed)
		d->ops->passed(d, w == JOINT_UP ? DATA_UP : DATA_DOWN, n, d->arg);
}

static void on_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct data_conn *d = arg;
	bool by_peer = end == (d->host->server ? JOINT_END_RESET_B : JOINT_END_RESET_A);

	(void)j;
	(void)err;
	data_plain_count(d);
	if (end == JOINT_END_CLEAN)
		data_conn_finish_clean(d);
	else
		data_conn_end(d, &(struct data_end){ .reason = end == JOINT_END_MEMORY ? WIRE_R_MEMORY
										       : WIRE_R_RESET,
						     .by_peer = by_peer,
						     .text = why });
}

static const struct joint_ops ops = {
	.want_b = on_want_b,
	.on_open = on_open,
	.tap = on_tap,
	.room = on_room,
	.passed = on_passed,
	.on_end = on_end,
};

int data_plain_join(struct data_conn *d, int client, int target)
{
	const struct joint_options o = { .fd = client };
	struct data_host *h = d->host;
	int r = h->joints ? 0 : joint_pool_new(h->loop, NULL, &h->joints), one = 1;

	(void)setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(target, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (r < 0)
		close(client);
	else
		r = joint_new(h->joints, &o, &ops, d, &d->joint);
	if (r < 0) {
		close(target);
		return r;
	}
	joint_dial(d->joint, target, NULL);
	data_plain_watch(d);
	return 0;
}

void data_plain_watch(struct data_conn *d)
{
	for (enum joint_way w = JOINT_UP; d->joint && w <= JOINT_DOWN; w++) {
		joint_tap(d->joint, w, d->tapped);
		joint_limit(d->joint, w, d->limited);
	}
}

void data_plain_count(struct data_conn *d)
{
	struct joint_info i;

	if (!d->joint)
		return;
	joint_info(d->joint, &i);
	for (unsigned w = 0; w < 2; w++) {
		uint64_t more = i.bytes[w] - d->bytes[w];

		if (!more)
			continue;
		d->bytes[w] += more;
		d->host->bytes[w] += more;
		d->touched_ms = loop_now(d->host->loop);
	}
	if (d->state == DATA_OPEN && (i.ended[0] || i.ended[1]))
		d->state = DATA_HALF;
}

void data_plain_close(struct data_conn *d, bool reset)
{
	data_plain_count(d); /* what passed since the last tick: the joint is the only one that knows */
	for (enum joint_side s = JOINT_A; d->joint && reset && s <= JOINT_B; s++)
		if (joint_fd(d->joint, s) >= 0)
			socket_reset_on_close(joint_fd(d->joint, s));
	d->joint = joint_free(d->joint);
	if (d->plain_fd < 0)
		return;
	if (reset)
		socket_reset_on_close(d->plain_fd);
	close(d->plain_fd);
	d->plain_fd = -1;
}

int data_plain_head(const uint8_t key[static 32], uint64_t session, uint64_t number,
		    uint8_t out[static WIRE_PLAIN_HEAD])
{
	struct wire_plain p = { .session = session, .number = number };
	struct wr w = wr_init(out, WIRE_PLAIN_HEAD);

	wire_plain_write(&w, &p);
	if (!HMAC(EVP_sha256(), key, 32, out, WIRE_PLAIN_SIGNED, out + WIRE_PLAIN_SIGNED, NULL))
		return -EIO;
	return 0;
}
