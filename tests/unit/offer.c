/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two agents say through a server that is not trusted: signed offers with every byte changed and every end cut off,
 * keys that are not what they should be, first contact with somebody in the middle; and the messages between supervisor and child,
 * by their rows.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include "common/text.h"
#include "tests/unit/share_vectors.h"
#include "tunnel/direct/pairing.h"

struct people {
	struct identity *alice, *bob, *eve;
};

static int setup(void **state)
{
	struct people *p = calloc(1, sizeof(*p));

	*state = p;
	return p && identity_make("alice", NULL, &p->alice) == 0 && identity_make("bob", NULL, &p->bob) == 0 &&
			       identity_make("eve", NULL, &p->eve) == 0 ?
		       0 :
		       -1;
}

static int teardown(void **state)
{
	struct people *p = *state;

	identity_unref(p->alice);
	identity_unref(p->bob);
	identity_unref(p->eve);
	free(p);
	return 0;
}

static const uint8_t call[OFFER_CALL] = "0123456789abcdef", dcid[CHILD_DCID] = "connection-id-018", epoch[OFFER_EPOCH] = "epoch-epoch-epoc";

static struct offer an_offer(const struct people *p)
{
	struct offer o = { .kind = OFFER_OFFER,
			   .to = { identity_hash(p->bob)->b, WIRE_PIN },
			   .call = { call, OFFER_CALL },
			   .number = 1,
			   .epoch = { epoch, OFFER_EPOCH },
			   .dcid = { dcid, CHILD_DCID },
			   .ice = { .ufrag = TEXT("frag"), .pwd = TEXT("a-password-of-22-bytes"), .n_candidates = 2, .done = 1 } };

	o.ice.candidates[0] = TEXT("candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host");
	o.ice.candidates[1] = TEXT("candidate:2 1 UDP 1694498815 198.51.100.1 6000 typ srflx raddr 192.0.2.1 rport 5000");
	return o;
}

static size_t written(const struct people *p, uint8_t out[static OFFER_MAX])
{
	struct offer o = an_offer(p);
	size_t n;

	assert_int_equal(offer_write(&o, identity_key(p->alice), out, &n), 0);
	return n;
}

/* In a block of exactly n bytes. */
static int read_copy(const uint8_t *bytes, size_t n, const struct identity *from, const struct identity *to, struct offer *ret_o)
{
	uint8_t *block = malloc(n ? n : 1);
	const char *why = NULL;
	int r;

	memcpy(block, bytes, n);
	r = offer_read(block, n, from ? identity_hash(from) : NULL, identity_hash(to), ret_o, &why);
	if (r < 0)
		assert_non_null(why);
	free(block);
	return r;
}

static void an_offer_is_read_by_whom_it_is_for(void **state)
{
	struct people *p = *state;
	uint8_t bytes[OFFER_MAX];
	size_t n = written(p, bytes);
	const char *why;
	struct offer o;

	assert_int_equal(offer_read(bytes, n, identity_hash(p->alice), identity_hash(p->bob), &o, &why), 0);
	assert_int_equal(o.kind, OFFER_OFFER);
	assert_int_equal(o.number, 1);
	assert_int_equal(o.ice.n_candidates, 2);
	assert_true(text_eq(o.ice.ufrag, TEXT("frag")));
	assert_memory_equal(o.call.p, call, OFFER_CALL);
	assert_memory_equal(o.dcid.p, dcid, CHILD_DCID);
	assert_memory_equal(o.epoch.p, epoch, OFFER_EPOCH);
	assert_memory_equal(o.from.p, identity_hash(p->alice)->b, WIRE_PIN);
	assert_int_equal(offer_read(bytes, n, NULL, identity_hash(p->bob), &o, &why), 0);
}

static void an_offer_for_another_or_of_another_is_refused(void **state)
{
	struct people *p = *state;
	uint8_t bytes[OFFER_MAX];
	size_t n = written(p, bytes);
	struct offer o;

	assert_int_equal(read_copy(bytes, n, p->alice, p->eve, &o), -EKEYREJECTED);
	assert_int_equal(read_copy(bytes, n, p->eve, p->bob, &o), -EKEYREJECTED);
}

static void no_bit_of_an_offer_can_be_changed(void **state)
{
	struct people *p = *state;
	uint8_t bytes[OFFER_MAX];
	size_t n = written(p, bytes);
	struct offer o;

	for (size_t i = 0; i < n; i++) {
		bytes[i] ^= (uint8_t)(1u << i % 8);
		assert_true(read_copy(bytes, n, p->alice, p->bob, &o) < 0);
		bytes[i] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(read_copy(bytes, n, p->alice, p->bob, &o), 0);
}

static void an_offer_that_is_cut_or_longer_is_refused(void **state)
{
	struct people *p = *state;
	uint8_t bytes[OFFER_MAX + 1] = { 0 };
	size_t n = written(p, bytes);
	struct offer o;

	for (size_t i = 0; i < n; i++)
		assert_true(read_copy(bytes, i, p->alice, p->bob, &o) < 0);
	assert_true(read_copy(bytes, n + 1, p->alice, p->bob, &o) < 0);
}

/* Somebody in the middle puts his key in the place of hers, and signs. */
static void a_key_that_is_not_the_identity_is_refused(void **state)
{
	struct people *p = *state;
	struct offer o = an_offer(p), got;
	uint8_t bytes[OFFER_MAX];
	size_t n;

	assert_int_equal(offer_write(&o, identity_key(p->eve), bytes, &n), 0);
	assert_int_equal(read_copy(bytes, n, p->alice, p->bob, &got), -EKEYREJECTED);
	memcpy(bytes + 2 + 4, identity_hash(p->alice)->b, WIRE_PIN); /* the field `from` stands first */
	assert_int_equal(read_copy(bytes, n, p->alice, p->bob, &got), -EKEYREJECTED);
}

static void what_belongs_into_an_offer_must_be_there(void **state)
{
	struct people *p = *state;
	struct offer o = an_offer(p);
	uint8_t bytes[OFFER_MAX];
	size_t n;

	o.dcid.n = 0;
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), -EINVAL);
	o = an_offer(p);
	o.ice.pwd.n = 0;
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), -EINVAL);
	o = (struct offer){ .kind = OFFER_SIGNAL, .to = o.to, .call = o.call, .number = 2 };
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), -EINVAL);
	o.kind = OFFER_KINDS;
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), -EINVAL);
}

static void more_candidates_than_fit_are_refused(void **state)
{
	struct people *p = *state;
	struct offer o = an_offer(p);
	uint8_t bytes[OFFER_MAX];
	size_t n;

	for (unsigned i = 0; i < CHILD_CANDIDATES_MAX; i++)
		o.ice.candidates[i] = o.ice.candidates[0];
	o.ice.n_candidates = CHILD_CANDIDATES_MAX;
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), 0);
	o.ice.n_candidates = CHILD_CANDIDATES_MAX + 1;
	assert_int_equal(offer_write(&o, identity_key(p->alice), bytes, &n), -EINVAL);
}

/* ---- first contact ---- */

static struct pairing between(const struct identity *visitor, const struct identity *host)
{
	struct pairing p = { .visitor = *identity_hash(visitor), .host = *identity_hash(host) };

	memcpy(p.call, call, sizeof(p.call));
	return p;
}

static void both_sides_see_the_same_digits(void **state)
{
	struct people *p = *state;
	struct pairing a = between(p->alice, p->bob), b = between(p->alice, p->bob);
	const uint8_t nv[PAIRING_NONCE] = "visitor's nonce", nh[PAIRING_NONCE] = "host's nonce 12";
	char x[PAIRING_SAS_STRLEN], y[PAIRING_SAS_STRLEN];

	pairing_string(&a, nv, nh, x);
	pairing_string(&b, nv, nh, y);
	assert_string_equal(x, y);
	assert_int_equal(strlen(x), 9);
	assert_int_equal(x[4], '-');
}

/* Eve speaks with each in her own name, and passes on the nonces. */
static void somebody_in_the_middle_shows_other_digits(void **state)
{
	struct people *p = *state;
	struct pairing a = between(p->alice, p->eve), b = between(p->eve, p->bob);
	const uint8_t nv[PAIRING_NONCE] = "visitor's nonce", nh[PAIRING_NONCE] = "host's nonce 12";
	char x[PAIRING_SAS_STRLEN], y[PAIRING_SAS_STRLEN];
	uint8_t c[WIRE_PIN], d[WIRE_PIN];

	pairing_string(&a, nv, nh, x);
	pairing_string(&b, nv, nh, y);
	assert_string_not_equal(x, y);
	pairing_commit(&a, nv, c);
	pairing_commit(&b, nv, d);
	assert_memory_not_equal(c, d, sizeof(c)); /* hers to the host is not the visitor's */
}

static void a_proof_is_for_these_two_and_this_code(void **state)
{
	struct people *p = *state;
	struct pairing a = between(p->alice, p->bob), b = between(p->eve, p->bob);
	struct enrol_code code, other;
	uint8_t x[PAIRING_PROOF], y[PAIRING_PROOF];

	assert_int_equal(enrol_code_make(identity_hash(p->bob), &code), 0);
	assert_int_equal(enrol_code_make(identity_hash(p->bob), &other), 0);
	assert_int_equal(pairing_proof(&a, &code, false, x), 0);
	assert_int_equal(pairing_proof(&b, &code, false, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
	assert_int_equal(pairing_proof(&a, &other, false, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
	assert_int_equal(pairing_proof(&a, &code, true, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
}

static void bodies_of_first_contact_have_one_length(void **state)
{
	static const struct {
		unsigned kind;
		uint8_t way;
		size_t n;
	} good[] = {
		{ OFFER_KNOCK, PAIRING_BY_STRING, 1 + WIRE_PIN },	{ OFFER_NONCE_MSG, PAIRING_BY_STRING, 1 + PAIRING_NONCE },
		{ OFFER_REVEAL, PAIRING_BY_STRING, 1 + PAIRING_NONCE }, { OFFER_KNOCK, PAIRING_BY_CODE, 1 + ENROL_ID_LEN + PAIRING_PROOF },
		{ OFFER_NONCE_MSG, PAIRING_BY_CODE, 1 + PAIRING_PROOF },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		for (size_t n = 0; n <= good[i].n + 1; n++) {
			uint8_t *block = calloc(1, n + 1);
			struct wire_bytes body = { block, n };
			struct pairing_body b;

			block[0] = good[i].way;
			assert_int_equal(pairing_read(good[i].kind, &body, &b) == WIRE_OK, n == good[i].n);
			free(block);
		}
}

/* ---- supervisor and child: by the rows ---- */

/* A value for each field that must be there, and for all others if all. */
static void fill(const struct wire_frame *row, uint8_t *msg, bool all)
{
	static const uint8_t bytes[1024] = "bytes of a field";

	for (unsigned i = 0; i < row->n_fields; i++) {
		const struct wire_field *f = &row->fields[i];
		uint8_t *to = msg + f->at;
		uint64_t v = f->min ? f->min : 1;

		if (f->most || (!f->required && !all))
			continue;
		if (f->kind == WIRE_K_BYTES)
			*(struct wire_bytes *)(void *)to = (struct wire_bytes){ bytes, v };
		else if (f->kind == WIRE_K_TEXT)
			*(struct text *)(void *)to = (struct text){ "text text text text text text", v };
		else if (f->kind == WIRE_K_ADDR)
			*(struct addr *)(void *)to = addr_v4(0x7f000001, 1);
		else if (f->kind == WIRE_K_U8)
			*to = (uint8_t)v;
		else if (f->kind == WIRE_K_U16)
			*(uint16_t *)(void *)to = (uint16_t)v;
		else if (f->kind == WIRE_K_U32)
			*(uint32_t *)(void *)to = (uint32_t)v;
		else
			*(uint64_t *)(void *)to = v;
	}
}

static void messages_are_read_as_they_are_written_and_not_when_cut(void **state)
{
	uint8_t packet[CHILD_PACKET_MAX];

	(void)state;
	for (size_t k = 0; k < 2 * child_n_frames; k++) {
		const struct wire_frame *row = &child_frames[k / 2];
		struct wr w = wr_init(packet, sizeof(packet));
		union child_any m = { 0 }, got;
		unsigned type;

		fill(row, (uint8_t *)&m, k % 2);
		child_write(&w, row->type, &m);
		assert_false(w.failed);
		assert_int_equal(child_parse(packet, wr_len(&w), row->way, &type, &got), WIRE_OK);
		assert_int_equal(type, row->type);
		for (size_t n = 0; n < wr_len(&w); n++) {
			uint8_t *block = malloc(n ? n : 1);

			memcpy(block, packet, n);
			(void)child_parse(block, n, row->way, &type, &got); /* the fields that are left may be a whole message */
			free(block);
		}
		if (row->way != (CHILD_TO_CHILD | CHILD_TO_SUPERVISOR))
			assert_int_equal(child_parse(packet, wr_len(&w), row->way ^ 3u, &type, &got), WIRE_WRONG_WAY);
	}
}

static void what_is_no_message_is_refused(void **state)
{
	const uint8_t unknown[] = { 0x3f }, twice[] = { CHILD_UNLISTEN, 0, 1, 0, 4, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 1 };
	union child_any m;
	unsigned type;

	(void)state;
	assert_int_equal(child_parse(unknown, 0, CHILD_TO_CHILD, &type, &m), WIRE_CUT);
	assert_int_equal(child_parse(unknown, 1, CHILD_TO_CHILD, &type, &m), WIRE_UNKNOWN_FRAME);
	assert_int_equal(child_parse(twice, sizeof(twice), CHILD_TO_CHILD, &type, &m), WIRE_FIELD_TWICE);
}

/* ---- shares ---- */

static void proofs_of_a_share_are_those_of_the_decision(void **state)
{
	struct pairing p;
	uint8_t knock[PAIRING_SHARE_KEY], proof[PAIRING_PROOF];
	char hex[2 * PAIRING_PROOF + 1];
	size_t n;

	(void)state;
	for (unsigned i = 0; i < OFFER_CALL; i++)
		p.call[i] = (uint8_t)(0x10 + i);
	memset(p.visitor.b, 0xaa, sizeof(p.visitor.b));
	memset(p.host.b, 0xbb, sizeof(p.host.b));
	assert_int_equal(hex_decode(text_of(share_vectors[0].knock), knock, sizeof(knock), &n), 0);
	assert_int_equal(pairing_share_proof(&p, knock, false, proof), 0);
	hex_encode(proof, sizeof(proof), hex);
	assert_string_equal(hex, SHARE_PROOF_VISITOR);
	assert_int_equal(pairing_share_proof(&p, knock, true, proof), 0);
	hex_encode(proof, sizeof(proof), hex);
	assert_string_equal(hex, SHARE_PROOF_HOST);
}

static void bodies_of_a_share_are_read_whole_or_not_at_all(void **state)
{
	uint8_t knock[1 + ENROL_ID_LEN + PAIRING_PROOF] = { PAIRING_BY_SHARE }, nonce[1 + PAIRING_PROOF + 1] = { PAIRING_BY_SHARE };
	struct pairing_body b;

	(void)state;
	nonce[sizeof(nonce) - 1] = WIRE_SHARE_TCP;
	assert_int_equal(pairing_read(OFFER_KNOCK, &(struct wire_bytes){ knock, sizeof(knock) }, &b), WIRE_OK);
	assert_int_equal(b.id.n, ENROL_ID_LEN);
	assert_int_equal(pairing_read(OFFER_NONCE_MSG, &(struct wire_bytes){ nonce, sizeof(nonce) }, &b), WIRE_OK);
	assert_int_equal(b.kind, WIRE_SHARE_TCP);
	assert_int_not_equal(pairing_read(OFFER_REVEAL, &(struct wire_bytes){ nonce, sizeof(nonce) }, &b), WIRE_OK);
	for (size_t cut = 0; cut < sizeof(knock); cut++)
		assert_int_not_equal(pairing_read(OFFER_KNOCK, &(struct wire_bytes){ knock, cut }, &b), WIRE_OK);
	for (size_t cut = 0; cut < sizeof(nonce); cut++)
		assert_int_not_equal(pairing_read(OFFER_NONCE_MSG, &(struct wire_bytes){ nonce, cut }, &b), WIRE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_offer_is_read_by_whom_it_is_for),
		cmocka_unit_test(an_offer_for_another_or_of_another_is_refused),
		cmocka_unit_test(no_bit_of_an_offer_can_be_changed),
		cmocka_unit_test(an_offer_that_is_cut_or_longer_is_refused),
		cmocka_unit_test(proofs_of_a_share_are_those_of_the_decision),
		cmocka_unit_test(bodies_of_a_share_are_read_whole_or_not_at_all),
		cmocka_unit_test(a_key_that_is_not_the_identity_is_refused),
		cmocka_unit_test(what_belongs_into_an_offer_must_be_there),
		cmocka_unit_test(more_candidates_than_fit_are_refused),
		cmocka_unit_test(both_sides_see_the_same_digits),
		cmocka_unit_test(somebody_in_the_middle_shows_other_digits),
		cmocka_unit_test(a_proof_is_for_these_two_and_this_code),
		cmocka_unit_test(bodies_of_first_contact_have_one_length),
		cmocka_unit_test(messages_are_read_as_they_are_written_and_not_when_cut),
		cmocka_unit_test(what_is_no_message_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
