/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UDP flow: datagrams in frames of a carrier of its own. The first few wait for the carrier (server) or for the target
 * (agent), so that a question needs no retry; all else that finds no way, or a carrier that is behind, is
 * dropped and counted, as a network would. At the server the owner has the socket; at the agent it is a connected
 * one of ours.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "tunnel/link/data_priv.h"

enum { READS = 32, FIRST_MAX = 4 };

struct datagram {
	struct datagram *next;
	size_t n;
	uint8_t p[];
};

static void hold(struct data_conn *d, const uint8_t *p, size_t n)
{
	struct datagram **at = &d->first,
			*one = d->n_first < FIRST_MAX ? malloc(sizeof(*one) + n) : NULL;

	if (!one) {
		d->dropped++;
		return;
	}
	one->next = NULL;
	one->n = n;
	memcpy(one->p, p, n);
	while (*at)
		at = &(*at)->next;
	*at = one;
	d->n_first++;
}

static void send_datagram(struct data_conn *d, enum data_way w, const uint8_t *p, size_t n)
{
	static _Thread_local uint8_t frame[WIRE_HEAD + WIRE_DATAGRAM_MAX];

	if (d->state == DATA_WAITING && n <= WIRE_DATAGRAM_MAX) {
		hold(d, p, n);
		return;
	}
	if (n > WIRE_DATAGRAM_MAX || !d->carrier || d->hold || d->state == DATA_ENDED) {
		d->dropped++;
		return;
	}
	wire_data_head(frame, WIRE_DATAGRAM, n);
	memcpy(frame + WIRE_HEAD, p, n);
	if (frame_conn_data(d->carrier->conn, frame, WIRE_HEAD + n) < 0) {
		d->dropped++;
		return;
	}
	d->datagrams[w]++;
	data_pump_count(d, w, p, n);
}

void data_conn_datagram(struct data_conn *d, const uint8_t *p, size_t n)
{
	send_datagram(d, d->in, p, n);
}

void data_conn_dropped(struct data_conn *d)
{
	d->dropped++;
}

static void to_target(struct data_conn *d, const uint8_t *p, size_t n)
{
	if (send(d->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		d->dropped++;
		return;
	}
	d->datagrams[d->out]++;
	data_pump_count(d, d->out, p, n);
}

int data_flow_heard(struct data_conn *d, const struct wire_bytes *b)
{
	if (d->host->server) {
		d->datagrams[d->out]++;
		data_pump_count(d, d->out, b->p, b->n);
		if (d->ops->on_datagram)
			d->ops->on_datagram(d, b->p, b->n, d->arg);
		return 0;
	}
	if (d->fd < 0)
		hold(d, b->p, b->n);
	else
		to_target(d, b->p, b->n);
	return 0;
}

void data_flow_forget(struct data_conn *d)
{
	while (d->first) {
		struct datagram *one = d->first;

		d->first = one->next;
		free(one);
	}
	d->n_first = 0;
}

void data_flow_flush(struct data_conn *d)
{
	struct datagram *first = steal_ptr(&d->first);

	d->n_first = 0;
	while (first) {
		struct datagram *one = first;

		first = one->next;
		if (d->host->server)
			send_datagram(d, d->in, one->p, one->n);
		else
			to_target(d, one->p, one->n);
		free(one);
	}
}

void data_flow_readable(struct data_conn *d)
{
	static _Thread_local uint8_t buf[WIRE_DATAGRAM_MAX];

	for (int i = 0; i < READS && d->fd >= 0; i++) {
		ssize_t r = recv(d->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN)
			return;
		if (r < 0)
			continue; /* ICMP: nobody listens there just now; the next datagram may find somebody */
		send_datagram(d, d->in, buf, (size_t)r);
	}
}
