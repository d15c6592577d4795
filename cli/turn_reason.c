/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sentences, chosen by what was being tried: the same "connection reset" means another thing behind a
 * TLS handshake than behind a Binding request. Nothing here knows more than the client saw, so causes
 * that look alike from outside are named side by side.
 */
#include "cli/turn_reason.h"
#include <errno.h>
#include <openssl/x509.h>
#include <string.h>
#include "common/text.h"

static bool on_datagrams(const struct turn_probe_options *o)
{
	return o->proto == TURN_UDP || o->proto == TURN_DTLS;
}

static bool is_secure(const struct turn_probe_options *o)
{
	return o->proto == TURN_TLS || o->proto == TURN_DTLS;
}

/* ---- certificates ---- */

static void put_date(const ASN1_TIME *t, struct sb *b)
{
	struct tm tm;
	char date[16];

	if (ASN1_TIME_to_tm(t, &tm) == 1 && strftime(date, sizeof date, "%Y-%m-%d", &tm))
		sb_str(b, date);
}

const char *turn_certificate_text(SSL *ssl, bool verified, char *buf, size_t n)
{
	X509 *x = SSL_get0_peer_certificate(ssl);
	struct sb b = sb_init(buf, n);

	sb_str(&b, verified ? "certificate good" : "certificate not checked");
	if (x) {
		sb_str(&b, verified ? " until " : ", valid until ");
		put_date(X509_get0_notAfter(x), &b);
	}
	return buf;
}

/* OpenSSL keeps no certificate that it refused, so its names and dates are not to be had here. */
static void put_verdict(const struct turn_probe_options *o, long verdict, struct sb *b)
{
	sb_fmt(b, "the server's certificate is refused: %s", X509_verify_cert_error_string(verdict));
	switch (verdict) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		sb_fmt(b, ": it is not for %s; give HOST as clients do, or get one with this name", o->server_name);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		sb_str(b, "; renew it and restart the server, or is this machine's clock wrong?");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		sb_str(b, "; is one of the two clocks wrong?");
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		sb_str(b, "; browsers refuse it too; --ca FILE trusts it here, --insecure looks away");
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		sb_str(b, "; does turn.certificate hold the chain too? For a CA of your own: --ca FILE");
		break;
	default:
		break;
	}
}

/* ---- the link ended ---- */

const char *turn_link_reason(const struct turn_probe_options *o, enum turn_probe_step step, const struct turn_link_end *end,
			     char *buf, size_t n)
{
	long verdict = end->ssl && o->verify ? SSL_get_verify_result(end->ssl) : X509_V_OK;
	const char *why = end->why && *end->why ? end->why : end->err ? strerror(end->err) : "the connection ended";
	int err = end->err;
	struct sb b = sb_init(buf, n);

	if (step == PROBE_CONNECT && is_secure(o) && verdict != X509_V_OK)
		put_verdict(o, verdict, &b);
	else if (err == ECONNREFUSED)
		sb_fmt(&b, "nobody listens on this %s port: does the server run, and is the port right?", on_datagrams(o) ? "UDP" : "TCP");
	else if (err == ENETUNREACH || err == EHOSTUNREACH)
		sb_fmt(&b, "there is no way to this address: %s", strerror(err));
	else if (err == ETIMEDOUT && o->proto == TURN_DTLS)
		turn_silence_reason(o, step, buf, n);
	else if (step == PROBE_CONNECT && o->proto == TURN_TLS && (err == ECONNRESET || err == EPROTO))
		sb_fmt(&b, "%s; is this port for TLS?", why);
	else if (step == PROBE_BINDING && !on_datagrams(o))
		sb_fmt(&b, "the server closed the connection; is this a %s port of a STUN server?", is_secure(o) ? "TLS" : "plain TCP");
	else
		sb_str(&b, why);
	return buf;
}

/* ---- nothing came ---- */

const char *turn_silence_reason(const struct turn_probe_options *o, enum turn_probe_step step, char *buf, size_t n)
{
	struct sb b = sb_init(buf, n);

	sb_str(&b, "no answer within ");
	sb_duration(&b, o->step_ms);
	sb_str(&b, ": ");
	if (step == PROBE_CONNECT && o->proto == TURN_DTLS)
		sb_str(&b, "a firewall drops it, nothing listens there, or this port is not for DTLS");
	else if (step == PROBE_CONNECT && o->proto == TURN_TLS)
		sb_str(&b, "a firewall drops it, the address is wrong, or this port is not for TLS");
	else if (step == PROBE_CONNECT)
		sb_str(&b, "a firewall drops it, or the address is wrong");
	else if (step == PROBE_BINDING && on_datagrams(o))
		sb_str(&b, "a firewall drops it, or no STUN server listens on this UDP port");
	else if (step == PROBE_BINDING)
		sb_str(&b, "something listens there, but no STUN server");
	else if (step == PROBE_ALLOCATE)
		sb_str(&b, "the server may offer STUN without TURN, or be overloaded");
	else
		sb_str(&b, "packets are lost on the way, or the server is overloaded");
	return buf;
}
