/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's frames: golden vectors read and written again, each beginning of them, every kind of fault, and the
 * table itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/unit/tunnel_wire_vectors.h"

/* Reads in a block of exactly n bytes, which the slices of the message then point to: freed by the caller. */
static enum wire_error next(const struct wire_vector *v, size_t n, uint8_t **ret_block, union wire_msg *ret_m, size_t *ret_size)
{
	struct wire_got g = { 0 };
	enum wire_error e;

	*ret_block = malloc(n ? n : 1);
	assert_non_null(*ret_block);
	memcpy(*ret_block, v->bytes, n);
	e = wire_next(*ret_block, n, (struct wire_place){ (uint8_t)v->way, (uint8_t)v->where }, &g);
	*ret_m = g.m;
	*ret_size = g.size;
	return e;
}

static void a_good_frame_is_read_and_written_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wire_good); i++) {
		const struct wire_vector *v = &wire_good[i];
		uint8_t *block, out[512];
		struct wr w = wr_init(out, sizeof(out));
		union wire_msg m;
		size_t size = 0;

		if (next(v, v->n, &block, &m, &size) != WIRE_OK)
			fail_msg("%s: %s", v->name, wire_error_text(next(v, v->n, &block, &m, &size)));
		assert_int_equal(size, v->n);
		wire_write(&w, (uint8_t)v->bytes[0], &m);
		if (w.failed || wr_len(&w) != v->n || memcmp(out, v->bytes, v->n) != 0)
			fail_msg("%s is written differently", v->name);
		free(block);
	}
}

static void every_type_of_frame_has_a_vector(void **state)
{
	(void)state;
	for (size_t k = 0; k < wire_n_frames; k++) {
		bool found = false;

		for (size_t i = 0; i < ARRAY_LEN(wire_good); i++)
			found |= (uint8_t)wire_good[i].bytes[0] == wire_frames[k].type;
		if (!found)
			fail_msg("%s has none", wire_frames[k].name);
	}
}

static void a_beginning_of_a_frame_is_incomplete(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wire_good); i++) {
		for (size_t n = 0; n < wire_good[i].n; n++) {
			union wire_msg m;
			uint8_t *block;
			size_t size;

			assert_int_equal(next(&wire_good[i], n, &block, &m, &size), WIRE_INCOMPLETE);
			free(block);
		}
	}
}

static void a_bad_frame_is_refused_for_its_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wire_bad); i++) {
		const struct wire_vector *v = &wire_bad[i];
		union wire_msg m;
		uint8_t *block;
		size_t size;
		enum wire_error e = next(v, v->n, &block, &m, &size);

		if (e != v->error)
			fail_msg("%s: %s", v->name, wire_error_text(e));
		free(block);
	}
}

static void what_a_later_version_adds_may_be_ignored(void **state)
{
	union wire_msg m = { 0 };
	uint8_t *block;
	size_t size = 0;

	(void)state;
	assert_int_equal(next(&wire_later[0], wire_later[0].n, &block, &m, &size), WIRE_OK);
	assert_int_equal(m.job_gone.id, 5);
	free(block);
	assert_int_equal(next(&wire_later[1], wire_later[1].n, &block, &m, &size), WIRE_OK);
	assert_int_equal(size, 7);
	free(block);
}

static const struct wire_vector *vector(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(wire_good); i++)
		if (strcmp(wire_good[i].name, name) == 0)
			return &wire_good[i];
	fail_msg("no vector \"%s\"", name);
	return NULL;
}

static void a_job_means_what_it_says(void **state)
{
	const struct wire_vector *v = vector("a JOB with all its values");
	char buf[PREFIX_STRLEN], at[ADDR_STRLEN];
	union wire_msg m;
	uint8_t *block;
	size_t size;

	(void)state;
	assert_int_equal(next(v, v->n, &block, &m, &size), WIRE_OK);
	assert_int_equal(m.job.id, 5);
	assert_int_equal(m.job.revision, 2);
	assert_int_equal(m.job.kind, WIRE_JOB_UDP);
	assert_int_equal(m.job.port, 22222);
	assert_int_equal(m.job.count, 10);
	assert_int_equal(m.job.target_port, 3389);
	assert_int_equal(m.job.flags, WIRE_JOB_ENCRYPT | WIRE_JOB_ENABLED);
	assert_true(text_eq(m.job.host, TEXT("10.1.0.25")));
	assert_true(text_eq(m.job.name, TEXT("j1")));
	assert_true(text_eq(m.job.note, TEXT("n")));
	assert_string_equal(addr_print(&m.job.bind, at), "192.0.2.1:0");
	assert_int_equal(m.job.n_allow, 2);
	assert_string_equal(prefix_print(&m.job.allow[0], buf), "198.51.100.0/24");
	assert_string_equal(prefix_print(&m.job.allow[1], buf), "2001:db8::/32");
	assert_true(m.job.expires == 0x70000000);
	assert_int_equal(m.job.connections, 100);
	free(block);
}

static void a_welcome_means_what_it_says(void **state)
{
	const struct wire_vector *v = vector("WELCOME of a control connection");
	char at[ADDR_STRLEN];
	union wire_msg m;
	uint8_t *block;
	size_t size;

	(void)state;
	assert_int_equal(next(v, v->n, &block, &m, &size), WIRE_OK);
	assert_int_equal(m.welcome.version, 1);
	assert_true(m.welcome.session == 9);
	assert_int_equal(m.welcome.window, 4 << 20);
	assert_int_equal(m.welcome.resume_ms, 30000);
	assert_int_equal(m.welcome.successor.n, WIRE_PIN);
	assert_string_equal(addr_print(&m.welcome.observed, at), "[2001:db8::1]:8080");
	assert_int_equal(m.welcome.n_ports, 2);
	assert_int_equal(m.welcome.ports[0].first, 20000);
	assert_int_equal(m.welcome.ports[0].last, 29999);
	free(block);
}

static void a_list_has_an_end(void **state)
{
	struct wire_job job = { .id = 1, .kind = WIRE_JOB_TCP, .n_allow = WIRE_ALLOW_MAX };
	uint8_t out[2048];
	struct wr w = wr_init(out, sizeof(out));
	union wire_msg m;

	(void)state;
	for (unsigned i = 0; i < WIRE_ALLOW_MAX; i++)
		job.allow[i] = (struct prefix){ addr_v4(i << 24, 0), 8 };
	wire_write(&w, WIRE_JOB, &job);
	assert_false(w.failed);
	assert_int_equal(wire_parse(WIRE_JOB, out + WIRE_HEAD, wr_len(&w) - WIRE_HEAD, &m), WIRE_OK);
	assert_int_equal(m.job.n_allow, WIRE_ALLOW_MAX);
	wr_bytes(&w, "\0\x0b\0\x05\x08\x0b\0\0\0", 9);
	assert_int_equal(wire_parse(WIRE_JOB, out + WIRE_HEAD, wr_len(&w) - WIRE_HEAD, &m), WIRE_FIELD_TWICE);
	job.n_allow++;
	wire_write(&w, WIRE_JOB, &job);
	assert_true(w.failed);
}

static void what_would_be_refused_is_not_written(void **state)
{
	const struct wire_job_gone nobody = { 0 };
	const struct wire_scram line = { TEXT("a\nb") };
	const struct wire_enrol proof = { .code = { (const uint8_t *)"c", 1 }, .proof = { (const uint8_t *)"short", 5 } };
	const struct wire_open sourceless = { .stream = 1, .job = 1, .kind = WIRE_JOB_TCP };
	const struct {
		unsigned type;
		const void *msg;
	} bad[] = { { WIRE_JOB_GONE, &nobody }, { WIRE_SCRAM, &line }, { WIRE_ENROL, &proof }, { WIRE_OPEN, &sourceless }, { 0x2f, &nobody } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t out[256];
		struct wr w = wr_init(out, sizeof(out));

		wire_write(&w, bad[i].type, bad[i].msg);
		assert_true(w.failed);
	}
}

/* U+009B alone begins an escape sequence in a terminal. */
static void a_text_has_no_control_characters_of_either_kind(void **state)
{
	static const char *const bad[] = { "a\nb", "a\x7f", "\x1b[2J", "a\xc2\x9bm", "\xc2\x80" };

	(void)state;
	for (size_t i = 0; i <= ARRAY_LEN(bad); i++) {
		uint8_t out[64];
		struct wr w = wr_init(out, sizeof(out));
		const struct wire_scram line = { i < ARRAY_LEN(bad) ? text_of(bad[i]) : TEXT("\xc2\xa0\xc3\x9b") };

		wire_write(&w, WIRE_SCRAM, &line);
		assert_int_equal(w.failed, i < ARRAY_LEN(bad));
	}
}

static void a_text_that_is_cut_is_still_utf8(void **state)
{
	char to[5];

	(void)state;
	wire_text_copy(to, sizeof(to), TEXT("abc\xc3\xa9"));
	assert_string_equal(to, "abc");
	wire_text_copy(to, sizeof(to), TEXT("ab\xc3\xa9"));
	assert_string_equal(to, "ab\xc3\xa9");
	wire_text_copy(to, sizeof(to), (struct text){ 0 });
	assert_string_equal(to, "");
}

static void a_plain_carriers_head_is_read_and_written(void **state)
{
	uint8_t out[WIRE_PLAIN_HEAD];
	struct wr w = wr_init(out, sizeof(out));
	struct wire_plain p;
	const uint8_t *v = (const uint8_t *)wire_plain_vector;

	(void)state;
	for (size_t n = 0; n < WIRE_PLAIN_HEAD; n++)
		assert_int_equal(wire_plain_parse(v, n, &p), WIRE_INCOMPLETE);
	assert_int_equal(wire_plain_parse(v, WIRE_PLAIN_HEAD, &p), WIRE_OK);
	assert_true(p.session == 9 && p.number == 3);
	wire_plain_write(&w, &p);
	assert_false(w.failed);
	assert_memory_equal(out, v, WIRE_PLAIN_HEAD);
	assert_int_equal(wire_plain_parse((const uint8_t *)"SSH-2.0", 7, &p), WIRE_BAD_VALUE);
	assert_int_equal(wire_plain_parse((const uint8_t *)"sTpl\x02", 5, &p), WIRE_BAD_VALUE);
}

static void every_reason_has_a_text_and_a_label(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WIRE_REASONS; i++) {
		assert_non_null(wire_reason_text(i));
		assert_non_null(wire_reason_label(i));
	}
	assert_non_null(wire_reason_text(255));
	for (unsigned i = 0; i < WIRE_ERRORS; i++)
		assert_non_null(wire_error_text(i));
	assert_string_equal(wire_type_name(WIRE_HELLO), "HELLO");
	assert_string_equal(wire_type_name(0xee), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_frame_is_read_and_written_again),
		cmocka_unit_test(every_type_of_frame_has_a_vector),
		cmocka_unit_test(a_beginning_of_a_frame_is_incomplete),
		cmocka_unit_test(a_bad_frame_is_refused_for_its_reason),
		cmocka_unit_test(what_a_later_version_adds_may_be_ignored),
		cmocka_unit_test(a_job_means_what_it_says),
		cmocka_unit_test(a_welcome_means_what_it_says),
		cmocka_unit_test(a_list_has_an_end),
		cmocka_unit_test(what_would_be_refused_is_not_written),
		cmocka_unit_test(a_text_has_no_control_characters_of_either_kind),
		cmocka_unit_test(a_text_that_is_cut_is_still_utf8),
		cmocka_unit_test(a_plain_carriers_head_is_read_and_written),
		cmocka_unit_test(every_reason_has_a_text_and_a_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
