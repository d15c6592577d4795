/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-256(-PLUS): the messages of RFC 5802 7 and its arithmetic (3), with SHA-256 (RFC 7677).
 *
 * Each message is read in exactly the order of the ABNF. Extensions are refused, "m=" because it must
 * be (5.1), and the others because nobody here sends them. An authorization identity is refused, too.
 */
#include "tunnel/link/scram.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include "common/bytes.h"
#include "stun/auth.h"

enum { OWN_NONCE = 18, PASSWORD_MAX = 1024, BOUND_MAX = 64 + SCRAM_BINDING_MAX };
enum { START, CLIENT_SENT_FIRST, CLIENT_SENT_FINAL, SERVER_SENT_FIRST, DONE }; /* scram.step */

static const char *const texts[] = {
	[SCRAM_OK] = "good",
	[SCRAM_MALFORMED] = "a message of the login is malformed",
	[SCRAM_NO_BINDING] = "the login is not bound to this TLS session",
	[SCRAM_WRONG] = "the password is wrong, or the login belongs to another TLS session",
	[SCRAM_BAD_ROUNDS] = "the server asks for a number of rounds that is not safe",
	[SCRAM_REFUSED] = "the server refuses the login",
	[SCRAM_BAD_PASSWORD] = "the password holds characters that no password may hold (RFC 4013)",
	[SCRAM_FAILED] = "out of memory or of random numbers",
};

const char *scram_result_text(enum scram_result r)
{
	return texts[r];
}

void scram_wipe(struct scram *s)
{
	bytes_wipe(s, sizeof(*s));
}

/* ---- arithmetic (RFC 5802 3) ---- */

static bool hmac(const uint8_t key[static SCRAM_KEY_LEN], struct text data,
		 uint8_t out[static SCRAM_KEY_LEN])
{
	return HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, (const uint8_t *)data.p, data.n, out, NULL) != NULL;
}

static bool hash(const uint8_t in[static SCRAM_KEY_LEN], uint8_t out[static SCRAM_KEY_LEN])
{
	return EVP_Digest(in, SCRAM_KEY_LEN, out, NULL, EVP_sha256(), NULL) == 1;
}

struct derived {
	uint8_t client_key[SCRAM_KEY_LEN], stored_key[SCRAM_KEY_LEN], server_key[SCRAM_KEY_LEN];
};

static enum scram_result derive(struct text password, struct text salt, uint32_t rounds,
				struct derived *ret_d)
{
	char prepared[PASSWORD_MAX];
	uint8_t salted[SCRAM_KEY_LEN];
	size_t n;
	bool good;

	if (stun_saslprep(password, prepared, sizeof(prepared), &n) < 0 || n == 0)
		return SCRAM_BAD_PASSWORD;
	good = PKCS5_PBKDF2_HMAC(prepared, (int)n, (const uint8_t *)salt.p, (int)salt.n,
				 (int)rounds, EVP_sha256(), SCRAM_KEY_LEN, salted) == 1 &&
	       hmac(salted, TEXT("Client Key"), ret_d->client_key) &&
	       hash(ret_d->client_key, ret_d->stored_key) &&
	       hmac(salted, TEXT("Server Key"), ret_d->server_key);
	bytes_wipe(prepared, sizeof(prepared));
	bytes_wipe(salted, sizeof(salted));
	return good ? SCRAM_OK : SCRAM_FAILED;
}

enum scram_result scram_verifier_make(struct text password, const void *salt, size_t salt_n,
				      uint32_t rounds, struct scram_verifier *ret_v)
{
	struct scram_verifier v = { .salt_n = salt ? salt_n : SCRAM_SALT_LEN, .rounds = rounds };
	struct derived d;
	enum scram_result r;

	if (v.salt_n > sizeof(v.salt) || v.salt_n == 0 || rounds == 0)
		return SCRAM_FAILED;
	if (salt)
		memcpy(v.salt, salt, salt_n);
	else if (bytes_random(v.salt, v.salt_n) < 0)
		return SCRAM_FAILED;
	r = derive(password, (struct text){ (const char *)v.salt, v.salt_n }, rounds, &d);
	if (r == SCRAM_OK) {
		memcpy(v.stored_key, d.stored_key, SCRAM_KEY_LEN);
		memcpy(v.server_key, d.server_key, SCRAM_KEY_LEN);
		*ret_v = v;
	}
	bytes_wipe(&d, sizeof(d));
	return r;
}

/* ---- pieces of messages ---- */

static void put_base64(struct sb *b, const void *p, size_t n)
{
	char out[BASE64_LEN(BOUND_MAX) + 1];

	base64_encode(p, n, out);
	sb_str(b, out);
}

/* saslname: "," and "=" have a spelling of their own. */
static void put_name(struct sb *b, struct text name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == ',' || name.p[i] == '=')
			sb_str(b, name.p[i] == ',' ? "=2C" : "=3D");
		else
			sb_char(b, name.p[i]);
	}
}

static bool get_name(struct text t, char *out)
{
	struct sb b = sb_init(out, SCRAM_NAME_MAX + 1);

	if (!text_is_utf8(t) || t.n == 0)
		return false;
	while (t.n) {
		bool comma = text_starts(t, TEXT("=2C"));

		if (t.p[0] == '=' && !comma && !text_starts(t, TEXT("=3D")))
			return false;
		if ((uint8_t)t.p[0] < ' ' || t.p[0] == 0x7f)
			return false;
		sb_char(&b, comma ? ',' : t.p[0]); /* "=3D" begins with what it means */
		t = text_drop(t, t.p[0] == '=' ? 3 : 1);
	}
	return !b.truncated;
}

/* The value of the next attribute, which must be this one: "r=…," */
static bool attr(struct text *rest, char name, struct text *ret_v)
{
	struct text t;

	if (!rest->p || !rest->n)
		return false;
	t = text_cut(rest, ',');
	if (t.n < 2 || t.p[0] != name || t.p[1] != '=')
		return false;
	*ret_v = text_drop(t, 2);
	return true;
}

/* printable = %x21-2B / %x2D-7E */
static bool is_nonce(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= ' ' || t.p[i] > '~' || t.p[i] == ',')
			return false;
	return t.n > 0 && t.n <= SCRAM_NONCE_MAX;
}

static bool own_nonce(char *nonce)
{
	uint8_t raw[OWN_NONCE];

	if (nonce[0])
		return true; /* a test's */
	if (bytes_random(raw, sizeof(raw)) < 0)
		return false;
	base64_encode(raw, sizeof(raw), nonce);
	return true;
}

static bool set_text(char *to, size_t cap, struct text t)
{
	if (t.n >= cap || (t.n && memchr(t.p, 0, t.n)))
		return false;
	memcpy(to, t.p, t.n);
	to[t.n] = 0;
	return true;
}

static void put_gs2(struct sb *b, const struct scram_binding *c)
{
	if (c->type)
		sb_fmt(b, "p=%s,,", c->type);
	else
		sb_str(b, "n,,");
}

/* The gs2 header and the binding's data, which both sides have to see alike. */
static size_t bound(const struct scram_binding *c, uint8_t out[static BOUND_MAX])
{
	struct sb b = sb_init((char *)out, BOUND_MAX - SCRAM_BINDING_MAX);

	put_gs2(&b, c);
	memcpy(out + b.n, c->data, c->type ? c->n : 0);
	return b.n + (c->type ? c->n : 0);
}

/* AuthMessage; false: too long. */
static bool auth_message(const struct scram *s, struct text final_bare, char *out, size_t cap,
			 struct text *ret_t)
{
	struct sb b = sb_init(out, cap);

	sb_str(&b, s->first_bare);
	sb_char(&b, ',');
	sb_str(&b, s->server_first);
	sb_char(&b, ',');
	sb_text(&b, final_bare);
	*ret_t = (struct text){ out, b.n };
	return !b.truncated;
}

static enum scram_result finished(struct scram_text *t, const struct sb *b)
{
	t->n = b->n;
	return b->truncated ? SCRAM_MALFORMED : SCRAM_OK;
}

/* ---- client ---- */

enum scram_result scram_client_first(struct scram *s, struct text name, struct scram_text *ret_t)
{
	struct sb b = sb_init(ret_t->p, sizeof(ret_t->p));
	size_t header;

	if (s->step != START || !own_nonce(s->nonce) || name.n > SCRAM_NAME_MAX)
		return SCRAM_FAILED;
	put_gs2(&b, &s->binding);
	header = b.n;
	sb_str(&b, "n=");
	put_name(&b, name);
	sb_fmt(&b, ",r=%s", s->nonce);
	if (b.truncated || !set_text(s->first_bare, sizeof(s->first_bare), text_of(ret_t->p + header)))
		return SCRAM_FAILED;
	s->step = CLIENT_SENT_FIRST;
	return finished(ret_t, &b);
}

struct challenge { /* server-first-message */
	struct text nonce;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	uint64_t rounds;
};

static enum scram_result read_challenge(const struct scram *s, struct text t, struct challenge *c)
{
	struct text salt, rounds, rest = t;
	uint64_t least = s->rounds_min ? s->rounds_min : SCRAM_ROUNDS_MIN;

	if (!attr(&rest, 'r', &c->nonce) || !attr(&rest, 's', &salt) ||
	    !attr(&rest, 'i', &rounds) || rest.p)
		return SCRAM_MALFORMED;
	if (!is_nonce(c->nonce) || text_u64(rounds, &c->rounds) < 0 ||
	    base64_decode(salt, c->salt, sizeof(c->salt), &c->salt_n) < 0 || c->salt_n == 0)
		return SCRAM_MALFORMED;
	if (!text_starts(c->nonce, text_of(s->nonce)) || c->nonce.n == strlen(s->nonce))
		return SCRAM_WRONG; /* an answer to somebody else */
	return c->rounds < least || c->rounds > SCRAM_ROUNDS_MAX ? SCRAM_BAD_ROUNDS : SCRAM_OK;
}

/* Proof and the signature to wait for, over the finished messages. */
static bool prove(struct scram *s, const struct derived *d, struct text final_bare,
		  uint8_t proof[static SCRAM_KEY_LEN])
{
	char all[3 * SCRAM_MESSAGE_MAX];
	uint8_t signature[SCRAM_KEY_LEN];
	struct text message;

	if (!auth_message(s, final_bare, all, sizeof(all), &message) ||
	    !hmac(d->stored_key, message, signature) ||
	    !hmac(d->server_key, message, s->server_signature))
		return false;
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++)
		proof[i] = d->client_key[i] ^ signature[i];
	return true;
}

enum scram_result scram_client_final(struct scram *s, struct text server_first,
				     struct text password, struct scram_text *ret_t)
{
	struct sb b = sb_init(ret_t->p, sizeof(ret_t->p));
	uint8_t seen[BOUND_MAX], proof[SCRAM_KEY_LEN];
	struct challenge c;
	struct derived d;
	enum scram_result r;
	bool good;

	if (s->step != CLIENT_SENT_FIRST ||
	    !set_text(s->server_first, sizeof(s->server_first), server_first))
		return SCRAM_MALFORMED;
	r = read_challenge(s, server_first, &c);
	if (r == SCRAM_OK)
		r = derive(password, (struct text){ (const char *)c.salt, c.salt_n },
			   (uint32_t)c.rounds, &d);
	if (r != SCRAM_OK)
		return r;
	sb_str(&b, "c=");
	put_base64(&b, seen, bound(&s->binding, seen));
	sb_str(&b, ",r=");
	sb_text(&b, c.nonce);
	good = !b.truncated && prove(s, &d, (struct text){ ret_t->p, b.n }, proof);
	bytes_wipe(&d, sizeof(d));
	if (!good)
		return SCRAM_FAILED;
	sb_str(&b, ",p=");
	put_base64(&b, proof, sizeof(proof));
	s->step = CLIENT_SENT_FINAL;
	return finished(ret_t, &b);
}

enum scram_result scram_client_done(struct scram *s, struct text server_final)
{
	uint8_t signature[SCRAM_KEY_LEN];
	struct text v, rest = server_final;
	size_t n;

	if (s->step != CLIENT_SENT_FINAL)
		return SCRAM_MALFORMED;
	if (attr(&rest, 'e', &v))
		return SCRAM_REFUSED;
	rest = server_final;
	if (!attr(&rest, 'v', &v) || rest.p ||
	    base64_decode(v, signature, sizeof(signature), &n) < 0 || n != sizeof(signature))
		return SCRAM_MALFORMED;
	s->step = DONE;
	return bytes_equal_ct(signature, s->server_signature, sizeof(signature)) ? SCRAM_OK
										 : SCRAM_WRONG;
}

/* ---- server ---- */

/* Cuts the gs2 header off. */
static enum scram_result read_gs2(const struct scram *s, struct text *t)
{
	struct text flag = text_cut(t, ','), wanted = text_of(s->binding.type);

	if (!t->p || t->n == 0 || t->p[0] != ',') /* an authorization identity, or nothing at all */
		return SCRAM_MALFORMED;
	*t = text_drop(*t, 1);
	if (text_starts(flag, TEXT("p=")))
		return wanted.n && text_eq(text_drop(flag, 2), wanted) ? SCRAM_OK : SCRAM_NO_BINDING;
	if (text_eq(flag, TEXT("n")) && !wanted.n)
		return SCRAM_OK;
	return text_eq(flag, TEXT("n")) || text_eq(flag, TEXT("y")) ? SCRAM_NO_BINDING : SCRAM_MALFORMED;
}

enum scram_result scram_server_first(struct scram *s, const struct scram_verifier *v,
				     struct text client_first, struct scram_text *ret_t)
{
	struct sb b = sb_init(ret_t->p, sizeof(ret_t->p));
	struct text rest = client_first, name, nonce, bare;
	enum scram_result r;

	if (s->step != START)
		return SCRAM_MALFORMED;
	r = read_gs2(s, &rest);
	if (r != SCRAM_OK)
		return r;
	bare = rest;
	if (!attr(&rest, 'n', &name) || !attr(&rest, 'r', &nonce) || rest.p || !is_nonce(nonce) ||
	    nonce.n > SCRAM_NONCE_MAX / 2 || !get_name(name, s->name) ||
	    !set_text(s->first_bare, sizeof(s->first_bare), bare))
		return SCRAM_MALFORMED;
	if (!own_nonce(s->nonce))
		return SCRAM_FAILED;
	sb_str(&b, "r=");
	sb_text(&b, nonce);
	sb_fmt(&b, "%s,s=", s->nonce);
	put_base64(&b, v->salt, v->salt_n);
	sb_fmt(&b, ",i=%u", v->rounds);
	if (b.truncated ||
	    !set_text(s->server_first, sizeof(s->server_first), (struct text){ ret_t->p, b.n }))
		return SCRAM_MALFORMED;
	s->step = SERVER_SENT_FIRST;
	return finished(ret_t, &b);
}

/* Whether the message fits to this session and to what was said before; what it proves comes after. */
static enum scram_result read_final(const struct scram *s, struct text t,
				    uint8_t proof[static SCRAM_KEY_LEN], struct text *ret_bare)
{
	struct text all = t, c, nonce, p, first = text_of(s->server_first), ours = { 0 };
	uint8_t got[BOUND_MAX], want[BOUND_MAX];
	size_t got_n, proof_n, want_n = bound(&s->binding, want);

	if (!attr(&t, 'c', &c) || !attr(&t, 'r', &nonce) || !attr(&t, 'p', &p) || t.p)
		return SCRAM_MALFORMED;
	if (base64_decode(c, got, sizeof(got), &got_n) < 0 ||
	    base64_decode(p, proof, SCRAM_KEY_LEN, &proof_n) < 0 || proof_n != SCRAM_KEY_LEN)
		return SCRAM_MALFORMED;
	(void)attr(&first, 'r', &ours);
	*ret_bare = (struct text){ all.p, (size_t)(p.p - all.p) - 3 }; /* without ",p=" */
	if (got_n != want_n || !bytes_equal_ct(got, want, want_n))
		return SCRAM_NO_BINDING;
	if (nonce.n != ours.n || !bytes_equal_ct(nonce.p, ours.p, ours.n))
		return SCRAM_WRONG;
	return SCRAM_OK;
}

static enum scram_result judge(const struct scram *s, const struct scram_verifier *v,
			       struct text client_final, uint8_t signature[static SCRAM_KEY_LEN])
{
	uint8_t proof[SCRAM_KEY_LEN], mine[SCRAM_KEY_LEN], stored[SCRAM_KEY_LEN];
	char all[3 * SCRAM_MESSAGE_MAX];
	struct text bare, message;
	enum scram_result r = read_final(s, client_final, proof, &bare);

	if (r != SCRAM_OK)
		return r;
	if (!auth_message(s, bare, all, sizeof(all), &message) || !hmac(v->stored_key, message, mine))
		return SCRAM_FAILED;
	for (size_t i = 0; i < SCRAM_KEY_LEN; i++)
		proof[i] ^= mine[i];
	if (!hash(proof, stored) || !bytes_equal_ct(stored, v->stored_key, SCRAM_KEY_LEN))
		return SCRAM_WRONG;
	return hmac(v->server_key, message, signature) ? SCRAM_OK : SCRAM_FAILED;
}

enum scram_result scram_server_final(struct scram *s, const struct scram_verifier *v,
				     struct text client_final, struct scram_text *ret_t)
{
	struct sb b = sb_init(ret_t->p, sizeof(ret_t->p));
	uint8_t signature[SCRAM_KEY_LEN];
	enum scram_result r;

	ret_t->n = 0;
	if (s->step != SERVER_SENT_FIRST || client_final.n >= SCRAM_MESSAGE_MAX)
		return SCRAM_MALFORMED;
	s->step = DONE; /* one try */
	r = judge(s, v, client_final, signature);
	if (r == SCRAM_OK) {
		sb_str(&b, "v=");
		put_base64(&b, signature, sizeof(signature));
	} else if (r == SCRAM_WRONG || r == SCRAM_NO_BINDING) {
		sb_str(&b, r == SCRAM_WRONG ? "e=invalid-proof" : "e=channel-bindings-dont-match");
	}
	ret_t->n = b.n;
	return r;
}
