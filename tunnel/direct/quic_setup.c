/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection is set up with: callbacks, settings, transport parameters, connection ids.
 *
 * Congestion control is BBR, for loss on a long way costs the others nine tenths of the rate. The connection's window
 * is as large as it gets from the start, for ngtcp2 0.12.1 was seen to break off a connection (ERR_FLOW_CONTROL) whose windows
 * it tuned while its path moved. What a stream may hold back is bounded by its own window, and readers that stall keep nothing from the
 * others: a stream's window grows only as its bytes are taken, and credit of the connection is given when bytes arrive, as long as not too
 * many are held in all (quic_stream.c).
 */
#include <string.h>
#include "common/bytes.h"
#include "tunnel/direct/quic_priv.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

enum {
	WINDOW = 48 << 20,
	ACK_THRESHOLD = 16,
	CID_LIMIT = 7,
};

static void on_random(uint8_t *p, size_t n, const ngtcp2_rand_ctx *x)
{
	(void)x;
	(void)bytes_random(p, n);
	/* One byte is asked for to decide whether this side clears the fixed bit (RFC 9287, always offered by ngtcp2). Ours stay: the
	 * first byte tells packets of QUIC from those of STUN, here and in the filter of a socket that both share. */
	if (n == 1)
		p[0] &= 0xfe;
}

static int on_new_cid(ngtcp2_conn *c, ngtcp2_cid *cid, uint8_t *token, size_t n, void *arg)
{
	struct quic_conn *q = arg;

	(void)c;
	if (n != QUIC_CID || q->n_cids == QUIC_CIDS || bytes_random(cid->data, n) < 0 ||
	    bytes_random(token, NGTCP2_STATELESS_RESET_TOKENLEN) < 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	cid->datalen = n;
	memcpy(q->cids[q->n_cids++], cid->data, n);
	return 0;
}

static int on_remove_cid(ngtcp2_conn *c, const ngtcp2_cid *cid, void *arg)
{
	struct quic_conn *q = arg;

	(void)c;
	for (unsigned i = 0; i < q->n_cids; i++)
		if (cid->datalen == QUIC_CID && memcmp(q->cids[i], cid->data, QUIC_CID) == 0) {
			memmove(q->cids[i], q->cids[q->n_cids - 1], QUIC_CID);
			q->n_cids--;
			break;
		}
	return 0;
}

static int on_handshake_completed(ngtcp2_conn *c, void *arg)
{
	struct quic_conn *q = arg;

	(void)c;
	q->handshaken = true;
	q->ops->handshaken(q, q->arg);
	return 0;
}

static int on_handshake_confirmed(ngtcp2_conn *c, void *arg)
{
	(void)c;
	((struct quic_conn *)arg)->confirmed = true;
	return 0;
}

static int on_path_validation(ngtcp2_conn *c, uint32_t flags, const ngtcp2_path *p, ngtcp2_path_validation_result res, void *arg)
{
	struct quic_conn *q = arg;
	unsigned k = quic_path_number(p);

	(void)c;
	(void)flags;
	if (q->moving && k == q->moving) {
		q->moving = 0;
		q->ops->moved(q, k, res == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS, q->arg);
	}
	return 0;
}

void quic_callbacks(const struct quic_conn *q, ngtcp2_callbacks *cb)
{
	*cb = (ngtcp2_callbacks){
		.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
		.encrypt = ngtcp2_crypto_encrypt_cb,
		.decrypt = ngtcp2_crypto_decrypt_cb,
		.hp_mask = ngtcp2_crypto_hp_mask_cb,
		.update_key = ngtcp2_crypto_update_key_cb,
		.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
		.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
		.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
		.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
		.rand = on_random,
		.get_new_connection_id = on_new_cid,
		.remove_connection_id = on_remove_cid,
		.handshake_completed = on_handshake_completed,
		.handshake_confirmed = on_handshake_confirmed,
		.path_validation = on_path_validation,
		.recv_stream_data = quic_stream_callbacks.data,
		.acked_stream_data_offset = quic_stream_callbacks.acked,
		.stream_open = quic_stream_callbacks.open,
		.stream_close = quic_stream_callbacks.close,
		.stream_reset = quic_stream_callbacks.reset,
		.stream_stop_sending = quic_stream_callbacks.stopped,
		.extend_max_stream_data = quic_stream_callbacks.more,
		.recv_datagram = quic_stream_callbacks.datagram,
	};
	if (q->o.client) {
		cb->client_initial = ngtcp2_crypto_client_initial_cb;
		cb->recv_retry = ngtcp2_crypto_recv_retry_cb;
	} else {
		cb->recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
	}
}

void quic_settings(const struct quic_conn *q, ngtcp2_settings *s, ngtcp2_transport_params *p)
{
	static const ngtcp2_cc_algo algos[] = { [QUIC_BBR] = NGTCP2_CC_ALGO_BBR, [QUIC_BBR2] = NGTCP2_CC_ALGO_BBR2,
						[QUIC_CUBIC] = NGTCP2_CC_ALGO_CUBIC };

	ngtcp2_settings_default(s);
	s->initial_ts = q->now;
	s->initial_rtt = 100 * MS; /* a first packet that is lost is said again after 0.3 s */
	s->cc_algo = algos[q->o.congestion];
	s->max_tx_udp_payload_size = QUIC_PACKET_MAX;
	s->ack_thresh = ACK_THRESHOLD;
	s->handshake_timeout = UINT64_MAX; /* the owner's affair: a path may come late */
	ngtcp2_transport_params_default(p);
	p->initial_max_streams_bidi = QUIC_STREAMS;
	p->initial_max_streams_uni = 0;
	p->initial_max_data = WINDOW;
	p->initial_max_stream_data_bidi_local = p->initial_max_stream_data_bidi_remote = QUIC_STREAM_WINDOW;
	p->max_idle_timeout = 30 * SECOND;
	p->max_udp_payload_size = 65527;
	p->max_datagram_frame_size = 65535;
	p->active_connection_id_limit = CID_LIMIT;
}
