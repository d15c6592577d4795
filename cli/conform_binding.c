/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of STUN itself with the Binding method (RFC 8489 5, 6 and 14): header, lengths, the transaction,
 * unknown attributes, FINGERPRINT, and what must be discarded without a word. No credentials are
 * needed, so these run against any STUN server.
 */
#include <string.h>
#include "cli/conform.h"

enum { UNKNOWN_REQUIRED = 0x7f01, UNKNOWN_OPTIONAL = 0xff01 };

static struct client *binding(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	return c;
}

/* ---- answers ---- */

static void is_answered(struct talk *t)
{
	struct client *c = binding(t);

	ask(c);
	want_success(c);
}

static void tells_mapped_address(struct talk *t)
{
	struct client *c = binding(t);
	struct addr first, again;

	ask(c);
	want(t, stun_get_addr(&c->m, STUN_A_XOR_MAPPED_ADDRESS, &first) == 0, "no XOR-MAPPED-ADDRESS");
	begin(c, STUN_BINDING);
	ask(c);
	want(t, stun_get_addr(&c->m, STUN_A_XOR_MAPPED_ADDRESS, &again) == 0, "no XOR-MAPPED-ADDRESS");
	if (!going_on(t))
		return;
	want(t, addr_equal(&first, &again), "the same socket got two different addresses");
	want(t, addr_family(&first) == addr_family(&t->o->server), "an address of another family");
	if (addr_classify(&t->o->server) == ADDR_LOOPBACK) /* nothing can have changed it on the way */
		want(t, addr_equal(&first, turn_link_local(c->link)), "it is not the address that the request came from");
}

static void length_fits(struct talk *t)
{
	struct client *c = binding(t);

	ask(c);
	want_success(c);
	want(t, !going_on(t) || c->answer.n == STUN_HEADER_LEN + (size_t)load_be16(c->answer.p + 2), "the length does not fit");
	want(t, !going_on(t) || c->answer.n % 4 == 0, "the length is no multiple of four");
}

static void cookie_and_id(struct talk *t)
{
	struct client *c = binding(t);

	ask(c);
	want_success(c);
	want(t, !going_on(t) || load_be32(c->answer.p + 4) == STUN_MAGIC, "no magic cookie");
}

static void id_of_one_byte(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	memset(c->tid, t->row->arg[0] == '0' ? 0 : 0xff, sizeof c->tid);
	memcpy(c->out + 8, c->tid, sizeof c->tid);
	ask(c);
	want_success(c);
}

static void twice_is_once(struct talk *t)
{
	struct client *c = binding(t);

	ask(c);
	want_success(c);
	c->answered = false;
	ask(c);
	want_success(c);
}

/* ---- attributes ---- */

static void software_is_fine(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_text(&c->w, STUN_A_SOFTWARE, TEXT("stile conform"));
	ask(c);
	want_success(c);
}

static void unknown_optional(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_raw(&c->w, UNKNOWN_OPTIONAL, "whatever", 8);
	ask(c);
	want_success(c);
}

static void many_optional(struct talk *t)
{
	struct client *c = binding(t);

	for (unsigned i = 0; i < 60; i++)
		stun_put_raw(&c->w, (uint16_t)(UNKNOWN_OPTIONAL + i), "12345", 5);
	ask(c);
	want_success(c);
}

static void unknown_required(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_raw(&c->w, UNKNOWN_REQUIRED, "abcd", 4);
	ask(c);
	want_error(c, 420);
}

static void unknown_is_listed(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_raw(&c->w, UNKNOWN_REQUIRED, "abcd", 4);
	ask(c);
	want_unknown(c, UNKNOWN_REQUIRED);
}

static void all_unknown_are_listed(struct talk *t)
{
	struct client *c = binding(t);

	for (unsigned i = 0; i < 3; i++)
		stun_put_raw(&c->w, (uint16_t)(UNKNOWN_REQUIRED + i), NULL, 0);
	ask(c);
	for (unsigned i = 0; i < 3; i++)
		want_unknown(c, (uint16_t)(UNKNOWN_REQUIRED + i));
}

static void optional_is_not_listed(struct talk *t)
{
	struct client *c = binding(t);
	const struct stun_value *v = &c->m.attr[STUN_A_UNKNOWN_ATTRIBUTES];

	stun_put_raw(&c->w, UNKNOWN_OPTIONAL, NULL, 0);
	stun_put_raw(&c->w, UNKNOWN_REQUIRED, NULL, 0);
	ask(c);
	want_unknown(c, UNKNOWN_REQUIRED);
	for (unsigned i = 0; going_on(t) && i + 2 <= v->n; i += 2)
		want(t, load_be16(v->p + i) != UNKNOWN_OPTIONAL, "the comprehension-optional one is listed too");
}

static void padding_is_ignored(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_text(&c->w, STUN_A_SOFTWARE, TEXT("x"));
	finish(c);
	memset(c->out + c->out_n - 3, 0xaa, 3);
	ask(c);
	want_success(c);
}

static void error_has_a_reason(struct talk *t)
{
	struct client *c = binding(t);
	struct text reason = { 0 };
	unsigned code;

	stun_put_raw(&c->w, UNKNOWN_REQUIRED, NULL, 0);
	ask(c);
	want_error(c, 420);
	want(t, stun_get_error(&c->m, &code, &reason) == 0 && reason.n > 0 && text_is_utf8(reason), "no reason phrase in UTF-8");
}

/* ---- FINGERPRINT ---- */

static void fingerprint_is_fine(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_fingerprint(&c->w);
	ask(c);
	want_success(c);
}

static void fingerprint_is_answered(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_fingerprint(&c->w);
	ask(c);
	want_success(c);
	want(t, !going_on(t) || c->m.has_fingerprint, "the answer has no FINGERPRINT");
}

static void fingerprint_is_checked(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_fingerprint(&c->w);
	finish(c);
	c->out[c->out_n - 1] ^= 1;
	ask_once(c);
	want_silence(c);
}

/* ---- silence ---- */

static void indication_is_not_answered(struct talk *t)
{
	struct client *c = client_open(t);

	begin_class(c, STUN_BINDING, STUN_INDICATION);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void response_is_not_answered(struct talk *t)
{
	struct client *c = client_open(t);

	begin_class(c, STUN_BINDING, t->row->arg[0] == 'e' ? STUN_ERROR : STUN_SUCCESS);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void unknown_method(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, (enum stun_method)0x0ee);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void class_of_method(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, t->row->arg[0] == 'D' ? STUN_DATA : STUN_SEND);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void first_bits(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	c->out[0] |= 0xc0;
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void length_of_no_four(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_text(&c->w, STUN_A_SOFTWARE, TEXT("1234"));
	finish(c);
	store_be16(c->out + 2, 7);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void length_past_the_end(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	store_be16(c->out + 2, 400);
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void bytes_behind_the_end(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	memset(c->out + c->out_n, 0, 8);
	c->out_n += 8;
	ask_once(c);
	want_silence(c);
	want_still(c);
}

static void header_cut_short(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	c->out_n = 19;
	ask_once(c);
	want_silence(c);
	want_still(c);
}

/* RFC 3489 has no cookie: the whole 16 bytes are its transaction id. */
static void without_cookie(struct talk *t)
{
	struct client *c = binding(t);

	finish(c);
	store_be32(c->out + 4, 0x01020304);
	if (!ask_once(c))
		return;
	want(t, load_be32(c->answer.p + 4) == 0x01020304, "the answer does not echo the 16 bytes of RFC 3489");
	want(t, !going_on(t) || stun_has(&c->m, STUN_A_MAPPED_ADDRESS), "an RFC 3489 client gets no MAPPED-ADDRESS");
}

/* ---- RFC 5780 ---- */

static void change_is_refused(struct talk *t)
{
	struct client *c = binding(t);

	stun_put_u32(&c->w, STUN_A_CHANGE_REQUEST, 6);
	ask_once(c);
	want_unknown(c, 0x0003);
}

static void origin_is_told(struct talk *t)
{
	struct client *c = binding(t);
	struct addr origin;

	ask(c);
	want(t, stun_get_addr(&c->m, STUN_A_RESPONSE_ORIGIN, &origin) == 0, "no RESPONSE-ORIGIN beside OTHER-ADDRESS");
}

static void other_address_is_other(struct talk *t)
{
	struct client *c = binding(t);
	struct addr other;

	ask(c);
	want(t, stun_get_addr(&c->m, STUN_A_OTHER_ADDRESS, &other) == 0, "OTHER-ADDRESS cannot be read");
	if (!going_on(t))
		return;
	want(t, !addr_equal_ip(&other, &t->o->server), "OTHER-ADDRESS has the server's own address");
	want(t, addr_port(&other) != addr_port(&t->o->server), "OTHER-ADDRESS has the server's own port");
}

/* clang-format off */
static const struct check_row rows[] = {
	{ "binding",             "RFC 8489 6.3.1", "a Binding request without credentials gets a success response", 0, is_answered, NULL },
	{ "mapped-address",      "RFC 8489 14.2",  "XOR-MAPPED-ADDRESS is the address that the request came from", 0, tells_mapped_address, NULL },
	{ "response-length",     "RFC 8489 5",     "the length of a response fits, and is a multiple of four", 0, length_fits, NULL },
	{ "response-cookie",     "RFC 8489 5",     "a response carries the magic cookie and the request's transaction id", 0, cookie_and_id, NULL },
	{ "id-zero",             "RFC 8489 5",     "a transaction id of zeroes is an id like any other", 0, id_of_one_byte, "0" },
	{ "id-ones",             "RFC 8489 5",     "a transaction id of ones is an id like any other", 0, id_of_one_byte, "1" },
	{ "binding-repeated",    "RFC 8489 6.3.1", "a repeated Binding request is answered again", 0, twice_is_once, NULL },
	{ "software",            "RFC 8489 14.14", "SOFTWARE in a request changes nothing", 0, software_is_fine, NULL },
	{ "unknown-optional",    "RFC 8489 6.3.1", "an unknown comprehension-optional attribute is ignored", 0, unknown_optional, NULL },
	{ "many-optional",       "RFC 8489 6.3.1", "sixty unknown comprehension-optional attributes are ignored", 0, many_optional, NULL },
	{ "unknown-required",    "RFC 8489 6.3.1", "an unknown comprehension-required attribute gets 420", 0, unknown_required, NULL },
	{ "unknown-listed",      "RFC 8489 14.13", "the 420 lists it in UNKNOWN-ATTRIBUTES", 0, unknown_is_listed, NULL },
	{ "unknown-all-listed",  "RFC 8489 6.3.1", "the 420 lists all of three unknown attributes", 0, all_unknown_are_listed, NULL },
	{ "unknown-only-required", "RFC 8489 6.3.1", "the 420 lists no comprehension-optional attribute", 0, optional_is_not_listed, NULL },
	{ "error-reason",        "RFC 8489 14.8",  "ERROR-CODE has a reason phrase in UTF-8", 0, error_has_a_reason, NULL },
	{ "padding-ignored",     "RFC 8489 14",    "padding bytes are ignored, whatever they are", 0, padding_is_ignored, NULL },
	{ "fingerprint",         "RFC 8489 14.7",  "a request with FINGERPRINT is answered", 0, fingerprint_is_fine, NULL },
	{ "fingerprint-answered", "RFC 8489 7",    "the answer to it has FINGERPRINT too", ADVISORY, fingerprint_is_answered, NULL },
	{ "fingerprint-wrong",   "RFC 8489 6.3",   "a request with a wrong FINGERPRINT is discarded", ADVISORY, fingerprint_is_checked, NULL },
	{ "binding-indication",  "RFC 8489 6.3.2", "a Binding indication is not answered", 0, indication_is_not_answered, NULL },
	{ "stray-success",       "RFC 8489 6.3.3", "a success response that nobody asked for is discarded", 0, response_is_not_answered, "success" },
	{ "stray-error",         "RFC 8489 6.3.4", "an error response that nobody asked for is discarded", 0, response_is_not_answered, "error" },
	{ "unknown-method",      "RFC 8489 6.3",   "a request of an unknown method is discarded", 0, unknown_method, NULL },
	{ "send-as-request",     "RFC 8489 6.3",   "Send, which has no request class, is discarded as a request", 0, class_of_method, "Send" },
	{ "data-as-request",     "RFC 8489 6.3",   "Data, which has no request class, is discarded as a request", 0, class_of_method, "Data" },
	{ "first-bits",          "RFC 8489 6.3",   "a datagram whose first two bits are not zero is no STUN message", NEED_DATAGRAM, first_bits, NULL },
	{ "length-odd",          "RFC 8489 6.3",   "a length that is no multiple of four is discarded", NEED_DATAGRAM, length_of_no_four, NULL },
	{ "length-too-long",     "RFC 8489 6.3",   "a length past the end of the datagram is discarded", NEED_DATAGRAM, length_past_the_end, NULL },
	{ "length-too-short",    "RFC 8489 6.3",   "a datagram longer than its length says is discarded", NEED_DATAGRAM | ADVISORY, bytes_behind_the_end, NULL },
	{ "header-short",        "RFC 8489 5",     "19 bytes are no STUN message", NEED_DATAGRAM, header_cut_short, NULL },
	{ "no-cookie",           "RFC 8489 11",    "without the cookie there is silence, or an answer in the way of RFC 3489", NEED_DATAGRAM | ADVISORY, without_cookie, NULL },
	{ "change-request",      "RFC 8489 6.3.1", "a server without a second address refuses CHANGE-REQUEST with 420", NEED_NO_DISCOVERY | NEED_DATAGRAM, change_is_refused, NULL },
	{ "response-origin",     "RFC 5780 7.3",   "RESPONSE-ORIGIN stands beside OTHER-ADDRESS", NEED_DISCOVERY, origin_is_told, NULL },
	{ "other-address",       "RFC 5780 7.4",   "OTHER-ADDRESS differs in address and in port", NEED_DISCOVERY, other_address_is_other, NULL },
};
/* clang-format on */
const struct check_area conform_binding = { "binding", rows, ARRAY_LEN(rows) };
