/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection: its life, the packets that come in and go out, and its paths. Streams and datagrams: quic_stream.c.
 *
 * What it is set up with: quic_setup.c.
 *
 * A packet that comes in is looked at for its connection id only, until that is found to be one of ours; what goes out is
 * gathered into batches, for the kernel's work per call is what a fast path costs.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "common/addr.h"
#include "common/bytes.h"
#include "tunnel/direct/quic_priv.h"

/* ns: the outcome of a move that another one has overtaken is never told */
#define PROBE_TIME UINT64_C(2000000000)
#define EXPIRE_AGAIN UINT64_C(100000) /* ns: no sooner than that */

enum {
	REASON_MAX = 150,
	LONG_HEADER = 0x80, FIXED_BIT = 0x40, LONG_TYPE = 0x30, /* RFC 9000 17.2; type 0: Initial */
};

/* ---- addresses of paths ---- */

static void addresses(struct path_addresses *a, unsigned k)
{
	memset(a, 0, sizeof(*a));
	a->local = addr_v4(0xf0000000u + k, (uint16_t)k).in4;
	a->remote = addr_v4(0xf0000100u + k, (uint16_t)k).in4;
	a->path.local = (ngtcp2_addr){ (ngtcp2_sockaddr *)&a->local, sizeof(a->local) };
	a->path.remote = (ngtcp2_addr){ (ngtcp2_sockaddr *)&a->remote, sizeof(a->remote) };
}

unsigned quic_path_number(const ngtcp2_path *p)
{
	struct sockaddr_in in;

	if (p->local.addrlen < sizeof(in))
		return 0;
	memcpy(&in, p->local.addr, sizeof(in));
	return ntohs(in.sin_port);
}

/* ---- the end ---- */

void quic_over(struct quic_conn *q, const char *why)
{
	if (q->over)
		return;
	q->over = true;
	(void)snprintf(q->why, sizeof(q->why), "%s", why);
}

static void say_goodbye(struct quic_conn *q, const ngtcp2_connection_close_error *e)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;

	ngtcp2_path_storage_zero(&ps);
	n = ngtcp2_conn_write_connection_close(q->conn, &ps.path, &pi, q->goodbye, sizeof(q->goodbye), e, q->now);
	q->goodbye_n = n > 0 ? (size_t)n : 0;
}

static void why_crypto(struct quic_conn *q, char *why, size_t n)
{
	char shown[IDENTITY_STRLEN];
	uint8_t alert = ngtcp2_conn_get_tls_alert(q->conn);

	if (identity_hash_is_set(&q->shown))
		(void)snprintf(why, n, "the other agent showed the key %s, which is not the expected one", identity_print(&q->shown, shown));
	else if (alert)
		(void)snprintf(why, n, "TLS: alert %u (%s)", alert, gnutls_alert_get_name((gnutls_alert_description_t)alert));
	else
		(void)snprintf(why, n, "TLS failed");
}

/* ngtcp2 can do no more with it. */
static void fail(struct quic_conn *q, int error)
{
	ngtcp2_connection_close_error e;
	char why[QUIC_WHY];

	if (q->over)
		return;
	if (error == NGTCP2_ERR_IDLE_CLOSE) {
		quic_over(q, "nothing was heard of the other agent for 30 s");
		return;
	}
	if (error == NGTCP2_ERR_HANDSHAKE_TIMEOUT || error == NGTCP2_ERR_DROP_CONN) {
		quic_over(q, "the other agent did not answer the handshake");
		return;
	}
	ngtcp2_connection_close_error_default(&e);
	if (error == NGTCP2_ERR_CRYPTO) {
		why_crypto(q, why, sizeof(why));
		ngtcp2_connection_close_error_set_transport_error_tls_alert(&e, ngtcp2_conn_get_tls_alert(q->conn), NULL, 0);
	} else {
		(void)snprintf(why, sizeof(why), "QUIC: %s", ngtcp2_strerror(error));
		ngtcp2_connection_close_error_set_transport_error_liberr(&e, error, NULL, 0);
	}
	if (error != NGTCP2_ERR_NOMEM)
		say_goodbye(q, &e);
	quic_over(q, why);
}

/* The other side has said goodbye. */
static void on_draining(struct quic_conn *q)
{
	ngtcp2_connection_close_error e;
	char reason[REASON_MAX] = "", why[QUIC_WHY];
	size_t n = 0;

	ngtcp2_conn_get_connection_close_error(q->conn, &e);
	for (size_t i = 0; i < e.reasonlen && n < sizeof(reason) - 1; i++)
		reason[n++] = e.reason[i] >= ' ' && e.reason[i] < 0x7f ? (char)e.reason[i] : '?';
	reason[n] = '\0';
	if (e.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION)
		(void)snprintf(why, sizeof(why), "the other agent ended the link%s%s", n ? ": " : "", reason);
	else if (e.error_code >= NGTCP2_CRYPTO_ERROR && e.error_code < NGTCP2_CRYPTO_ERROR + 256)
		(void)snprintf(why, sizeof(why), "the other agent refused our key (TLS alert %u)", (unsigned)(e.error_code & 0xff));
	else
		(void)snprintf(why, sizeof(why), "the other agent ended the link (QUIC error %llu)%s%s", (unsigned long long)e.error_code,
			       n ? ": " : "", reason);
	quic_over(q, why);
}

void quic_conn_close(struct quic_conn *q, const char *why, uint64_t now)
{
	ngtcp2_connection_close_error e;

	if (q->over)
		return;
	q->now = now;
	if (q->conn) {
		ngtcp2_connection_close_error_default(&e);
		ngtcp2_connection_close_error_set_application_error(&e, 0, (const uint8_t *)why, MIN(strlen(why), (size_t)REASON_MAX));
		say_goodbye(q, &e);
	}
	quic_over(q, why);
}

/* ---- life ---- */

static int random_cid(ngtcp2_cid *cid)
{
	cid->datalen = QUIC_CID;
	return bytes_random(cid->data, QUIC_CID);
}

static int error_of(int ngtcp2_error)
{
	return ngtcp2_error == 0 ? 0 : ngtcp2_error == NGTCP2_ERR_NOMEM ? -ENOMEM : -EIO;
}

/* hd: server: of the first packet. */
static int start(struct quic_conn *q, unsigned k, const ngtcp2_pkt_hd *hd)
{
	ngtcp2_callbacks cb;
	ngtcp2_settings s;
	ngtcp2_transport_params p;
	ngtcp2_cid scid, dcid;
	struct path_addresses a;
	int r = random_cid(&scid);

	if (r < 0)
		return r;
	quic_callbacks(q, &cb);
	quic_settings(q, &s, &p);
	addresses(&a, k);
	r = quic_tls_new(q);
	if (r < 0)
		return r;
	if (hd) {
		p.original_dcid = hd->dcid;
		r = ngtcp2_conn_server_new(&q->conn, &hd->scid, &scid, &a.path, hd->version, &cb, &s, &p, NULL, q);
	} else {
		ngtcp2_cid_init(&dcid, q->o.dcid, QUIC_DCID);
		r = ngtcp2_conn_client_new(&q->conn, &dcid, &scid, &a.path, NGTCP2_PROTO_VER_V1, &cb, &s, &p, NULL, q);
	}
	if (r != 0) {
		q->conn = NULL;
		return error_of(r);
	}
	memcpy(q->cids[q->n_cids++], scid.data, QUIC_CID);
	memcpy(q->first_cid, scid.data, QUIC_CID);
	ngtcp2_conn_set_tls_native_handle(q->conn, q->tls);
	return 0;
}

int quic_conn_new(const struct quic_options *o, uint64_t now, struct quic_conn **ret_q)
{
	struct quic_conn *q = calloc(1, sizeof(*q));
	int r = 0;

	if (!q)
		return -ENOMEM;
	q->ops = o->ops;
	q->arg = o->arg;
	q->o = *o;
	q->now = now;
	list_init(&q->streams);
	list_init(&q->urgent);
	list_init(&q->bulk);
	list_init(&q->datagrams);
	if (o->client)
		r = start(q, o->path, NULL);
	if (r < 0) {
		quic_conn_free(q);
		return r;
	}
	*ret_q = q;
	return 0;
}

struct quic_conn *quic_conn_free(struct quic_conn *q)
{
	if (!q)
		return NULL;
	quic_over(q, "freed");
	quic_streams_free(q);
	if (q->conn)
		ngtcp2_conn_del(q->conn);
	quic_tls_free(q);
	free(q);
	return NULL;
}

bool quic_conn_over(const struct quic_conn *q)
{
	return q->over;
}

const char *quic_conn_why(const struct quic_conn *q)
{
	return q->why;
}

bool quic_conn_handshaken(const struct quic_conn *q)
{
	return q->handshaken;
}

bool quic_conn_confirmed(const struct quic_conn *q)
{
	return q->confirmed || (q->handshaken && !q->o.client);
}

/* ---- packets in ---- */

static bool ours(const struct quic_conn *q, const uint8_t *cid)
{
	for (unsigned i = 0; i < q->n_cids; i++)
		if (memcmp(q->cids[i], cid, QUIC_CID) == 0)
			return true;
	return false;
}

/* Only what carries an announced connection id goes on to a parser. The first byte's length fields are all that is read. */
static bool admitted(const struct quic_conn *q, const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t first = rd_u8(&r), cid_n;
	const uint8_t *cid;

	if (!(first & FIXED_BIT))
		return false;
	if (!(first & LONG_HEADER)) {
		cid = rd_take(&r, QUIC_CID);
		return cid && ours(q, cid);
	}
	if (rd_u32(&r) != NGTCP2_PROTO_VER_V1)
		return false;
	cid_n = rd_u8(&r);
	cid = rd_take(&r, cid_n);
	if (!cid)
		return false;
	if (cid_n == QUIC_CID && q->conn)
		return ours(q, cid);
	return !q->o.client && cid_n == QUIC_DCID && memcmp(cid, q->o.dcid, QUIC_DCID) == 0 && (q->conn || !(first & LONG_TYPE));
}

bool quic_conn_is_first(const struct quic_conn *q, const uint8_t *p, size_t n)
{
	if (q->moved_on || !admitted(q, p, n))
		return false;
	return (p[0] & LONG_HEADER) || memcmp(p + 1, q->first_cid, QUIC_CID) == 0;
}

/* Server: the visitor's first packet. */
static int accept_first(struct quic_conn *q, unsigned k, const uint8_t *p, size_t n)
{
	ngtcp2_pkt_hd hd;
	int r;

	if (ngtcp2_accept(&hd, p, n) != 0)
		return -EBADMSG;
	r = start(q, k, &hd);
	if (r < 0) {
		quic_tls_free(q);
		quic_over(q, r == -ENOMEM ? "out of memory" : "the connection could not be set up");
		return -ECONNRESET;
	}
	return 0;
}

int quic_conn_input(struct quic_conn *q, unsigned k, uint8_t *p, size_t n, uint64_t now)
{
	struct path_addresses a;
	ngtcp2_pkt_info pi = { 0 };
	int r;

	if (q->over)
		return -ECONNRESET;
	q->now = now;
	if (!admitted(q, p, n)) {
		q->refused++;
		return -EBADMSG;
	}
	if (!q->conn) {
		r = accept_first(q, k, p, n);
		if (r < 0)
			return r;
	}
	q->moved_on |= !quic_conn_is_first(q, p, n);
	addresses(&a, k);
	q->in_ngtcp2 = true;
	r = ngtcp2_conn_read_pkt(q->conn, &a.path, &pi, p, n, now);
	q->in_ngtcp2 = false;
	if (r == 0)
		return q->over ? -ECONNRESET : 0;
	if (r == NGTCP2_ERR_DRAINING)
		on_draining(q);
	else if (r == NGTCP2_ERR_RETRY || r == NGTCP2_ERR_DISCARD_PKT)
		return -EBADMSG;
	else
		fail(q, r);
	return -ECONNRESET;
}

/* ---- packets out ---- */

static size_t put_goodbye(struct quic_conn *q, uint8_t *buf, unsigned *ret_k, size_t *ret_segment)
{
	size_t n = q->goodbye_n;

	if (!n)
		return 0;
	memcpy(buf, q->goodbye, n);
	q->goodbye_n = 0;
	*ret_k = quic_conn_path(q);
	*ret_segment = n;
	return n;
}

/* Packets into buf as long as they belong together. What does not is kept for the next batch. */
static size_t gather(struct quic_conn *q, uint8_t *buf, unsigned *k, size_t *segment, uint64_t now)
{
	size_t n = 0, count = 0, quantum = ngtcp2_conn_get_send_quantum(q->conn);
	ngtcp2_path_storage ps;

	ngtcp2_path_storage_zero(&ps);
	if (q->held_packet) {
		memcpy(buf, q->packet, q->held_packet);
		n = *segment = q->held_packet;
		*k = (unsigned)q->held_k;
		q->held_packet = 0;
		count = 1;
	}
	while (count < QUIC_BATCH_PACKETS && n + QUIC_PACKET_MAX <= QUIC_BATCH_MAX && (!count || n < quantum)) {
		ngtcp2_ssize w = quic_write_packet(q, &ps.path, buf + n, QUIC_PACKET_MAX, now);
		unsigned to;

		if (w < 0)
			fail(q, (int)w);
		if (w <= 0)
			break;
		q->sent++;
		to = quic_path_number(&ps.path);
		if (count && (to != *k || (size_t)w > *segment)) {
			memcpy(q->packet, buf + n, (size_t)w);
			q->held_packet = (size_t)w;
			q->held_k = to;
			break;
		}
		if (!count) {
			*segment = (size_t)w;
			*k = to;
		}
		count++;
		n += (size_t)w;
		if ((size_t)w < *segment)
			break;
	}
	return n;
}

size_t quic_conn_output(struct quic_conn *q, uint8_t *buf, unsigned *ret_k, size_t *ret_segment, uint64_t now)
{
	size_t n;

	if (q->over)
		return put_goodbye(q, buf, ret_k, ret_segment);
	if (!q->conn)
		return 0;
	quic_call_closed(q);
	q->now = now;
	q->in_ngtcp2 = true;
	n = gather(q, buf, ret_k, ret_segment, now);
	q->in_ngtcp2 = false;
	if (n)
		ngtcp2_conn_update_pkt_tx_time(q->conn, now);
	quic_call_room(q);
	return n;
}

/* ---- time ---- */

uint64_t quic_conn_deadline(const struct quic_conn *q)
{
	uint64_t at;

	if (q->over || !q->conn)
		return QUIC_NEVER;
	at = ngtcp2_conn_get_expiry(q->conn);
	return q->expired ? MAX(at, q->expired + EXPIRE_AGAIN) : at; /* some of its deadlines stay where they are */
}

int quic_conn_expire(struct quic_conn *q, uint64_t now)
{
	int r;

	if (q->over)
		return -ECONNRESET;
	q->now = now;
	if (!q->conn || ngtcp2_conn_get_expiry(q->conn) > now)
		return 0;
	q->expired = now;
	q->in_ngtcp2 = true;
	r = ngtcp2_conn_handle_expiry(q->conn, now);
	q->in_ngtcp2 = false;
	if (r == 0)
		return 0;
	fail(q, r);
	return -ECONNRESET;
}

void quic_conn_keep_alive(struct quic_conn *q, uint64_t every_ns)
{
	if (q->conn && !q->over)
		ngtcp2_conn_set_keep_alive_timeout(q->conn, every_ns);
}

/* ---- paths ---- */

unsigned quic_conn_path(const struct quic_conn *q)
{
	return q->conn ? quic_path_number(ngtcp2_conn_get_path(q->conn)) : q->o.path;
}

int quic_conn_move(struct quic_conn *q, unsigned k, bool at_once, uint64_t now)
{
	struct path_addresses a;
	int r;

	if (q->over || !q->conn || !q->o.client || !k || k > QUIC_PATHS || k == quic_conn_path(q))
		return -EINVAL;
	if (!q->confirmed || q->in_ngtcp2)
		return -EAGAIN;
	q->now = now;
	addresses(&a, k);
	r = at_once ? ngtcp2_conn_initiate_immediate_migration(q->conn, &a.path, now) : ngtcp2_conn_initiate_migration(q->conn, &a.path, now);
	if (r == NGTCP2_ERR_NOMEM)
		fail(q, r);
	if (r != 0)
		return -EAGAIN;
	q->moving = k;
	q->moving_since = now;
	return 0;
}

/* ---- what is known ---- */

void quic_conn_info(const struct quic_conn *q, struct quic_info *ret_i)
{
	ngtcp2_conn_stat st = { 0 };

	*ret_i = (struct quic_info){
		.sent = q->sent,
		.refused = q->refused,
		.datagrams_dropped = q->datagrams_dropped,
		.streams = q->n_streams,
		.held = q->held,
		.probing = q->moving && q->moving != quic_conn_path(q) && q->now - q->moving_since < PROBE_TIME,
		.unsent = !list_empty(&q->urgent) || !list_empty(&q->bulk) || q->n_datagrams || q->held_packet,
	};
	if (!q->conn)
		return;
	ngtcp2_conn_get_conn_stat(q->conn, &st);
	ret_i->srtt_ns = st.first_rtt_sample_ts == UINT64_MAX ? 0 : st.smoothed_rtt;
	ret_i->pto_ns = ngtcp2_conn_get_pto(q->conn);
	ret_i->cwnd = st.cwnd;
	ret_i->in_flight = st.bytes_in_flight;
	ret_i->mtu = ngtcp2_conn_get_path_max_tx_udp_payload_size(q->conn);
	ret_i->lost = quic_streams_lost(q);
}
