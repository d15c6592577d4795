/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations in the store: written behind, one object for each user, and there again with a new process: contacts, Path,
 * the time that is left, flows over UDP; a connection's number is not. What the store holds is believed only as far as
 * it makes sense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <errno.h>
#include "sip-proxy/location_store.h"

static struct loop *loop;
static struct store *store;
static struct sip_location *location;
static struct sip_location_store *behind;
static char path[64];

static const struct store_kind kinds[] = { { .name = SIP_BINDING_KIND, .unaudited = true },
					   { 0 } };

static void start(void)
{
	char err[256];
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = path, .kinds = kinds }, err,
				    sizeof err, &store),
			 0);
	assert_int_equal(sip_location_new(&(struct sip_location_options){ .timers = loop_timers(loop),
									  .seed = { 1, 2 } },
					  &location),
			 0);
	assert_int_equal(sip_location_store_new(
				 &(struct sip_location_store_options){
					 .store = store, .loop = loop, .location = location },
				 &behind),
			 0);
}

static void stop(void)
{
	behind = sip_location_store_free(behind);
	location = sip_location_free(location);
	store = store_close(store);
	loop = loop_free(loop);
}

static int begin(void **state)
{
	int fd;
	(void)state;
	strcpy(path, "/tmp/stile-bindings-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	start();
	return 0;
}

static int end(void **state)
{
	char companion[80];
	(void)state;
	stop();
	unlink(path);
	(void)snprintf(companion, sizeof companion, "%s-wal", path);
	unlink(companion);
	return 0;
}

static struct sip_binding binding(const char *uri, enum sip_proto proto, uint64_t ms)
{
	struct sip_binding b = {
		.uri = (char *)uri,
		.call_id = "call",
		.cseq = 7,
		.q = 500,
		.expires_at = loop_now(loop) + ms,
		.use_flow = true,
		.from = { .proto = proto, .iface = 77, .conn = proto == SIP_UDP ? 0 : 4711 }
	};
	assert_int_equal(addr_parse(TEXT("203.0.113.5:40123"), 0, &b.from.remote), 0);
	assert_int_equal(addr_parse(TEXT("192.0.2.100:5060"), 0, &b.from.local), 0);
	return b;
}

static void set(const char *aor, struct sip_binding b)
{
	assert_int_equal(sip_location_set(location, aor, &b, loop_now(loop)), 0);
}

/* Turns the loop until nothing waits to be written. */
static void on_tick(struct timer *t, uint64_t now)
{
	(void)now;
	if (sip_location_store_waiting(behind) == 0)
		loop_stop(loop);
	else
		loop_timer_set(loop, t, 20);
}

static void let_it_write(void)
{
	struct timer tick = { .fire = on_tick };
	loop_timer_set(loop, &tick, 20);
	assert_int_equal(loop_run(loop), 0);
}

static void what_was_registered_is_there_after_a_restart(void **state)
{
	struct sip_binding bob = binding("sip:bob@10.0.0.5:5060", SIP_UDP, 600000),
			   carol = binding("sip:carol@10.0.0.6;transport=tcp", SIP_TCP, 600000);
	const struct sip_binding *b;
	unsigned n;
	(void)state;
	bob.path = "<sip:edge.test;lr>";
	carol.instance = "\"<urn:uuid:1>\"";
	carol.reg_id = 3;
	carol.outbound = true;
	set("bob@uc.test", bob);
	set("carol@uc.test", carol);
	let_it_write();
	stop();
	start();
	assert_int_equal(sip_location_count(location), 2);
	b = sip_location_find(location, "bob@uc.test", loop_now(loop), &n);
	assert_int_equal(n, 1);
	assert_string_equal(b->uri, bob.uri);
	assert_string_equal(b->path, bob.path);
	assert_null(b->instance);
	assert_string_equal(b->call_id, "call");
	assert_int_equal(b->cseq, 7);
	assert_int_equal(b->q, 500);
	assert_true(b->use_flow && !b->outbound);
	assert_int_equal(b->from.iface, 77);
	assert_true(addr_equal(&b->from.remote, &bob.from.remote));
	assert_true(addr_equal(&b->from.local, &bob.from.local));
	assert_true(b->expires_at > loop_now(loop) + 500 * 1000 &&
		    b->expires_at <= loop_now(loop) + 601 * 1000);
	b = sip_location_find(location, "carol@uc.test", loop_now(loop), &n);
	assert_int_equal(n, 1);
	assert_string_equal(b->instance, carol.instance);
	assert_int_equal(b->reg_id, 3);
	assert_true(b->outbound);
	assert_int_equal(b->from.proto, SIP_TCP);
	assert_int_equal(b->from.conn, 0);			 /* that connection is gone */
	assert_int_equal(sip_location_store_waiting(behind), 0); /* what was read need not be written */
}

static void what_ended_or_is_over_does_not_come_back(void **state)
{
	unsigned n;
	(void)state;
	set("bob@uc.test", binding("sip:bob@10.0.0.5", SIP_UDP, 600000));
	set("carol@uc.test", binding("sip:carol@10.0.0.6", SIP_UDP, 150));
	set("dave@uc.test", binding("sip:dave@10.0.0.7", SIP_UDP, 600000));
	let_it_write();
	assert_int_equal(sip_location_clear(location, "bob@uc.test", "another", 1), 0);
	usleep(200 * 1000); /* carol's time */
	stop();		    /* at once: what is not written yet is written now */
	start();
	assert_int_equal(sip_location_count(location), 1);
	sip_location_find(location, "dave@uc.test", loop_now(loop), &n);
	assert_int_equal(n, 1);
}

static void a_refreshed_binding_is_written_again(void **state)
{
	struct sip_binding b = binding("sip:bob@10.0.0.5", SIP_UDP, 60000);
	unsigned n;
	(void)state;
	set("bob@uc.test", b);
	let_it_write();
	b.cseq = 8;
	b.expires_at = loop_now(loop) + 3000 * 1000;
	set("bob@uc.test", b);
	stop();
	start();
	const struct sip_binding *found =
		sip_location_find(location, "bob@uc.test", loop_now(loop), &n);
	assert_int_equal(n, 1);
	assert_int_equal(found->cseq, 8);
	assert_true(found->expires_at > loop_now(loop) + 2000 * 1000);
}

static void a_thousand_are_written(void **state)
{
	char aor[32];
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(aor, sizeof aor, "u%u@uc.test", i);
		set(aor, binding("sip:u@10.0.0.5", SIP_UDP, 600000));
	}
	let_it_write();
	stop();
	start();
	assert_int_equal(sip_location_count(location), 1000);
}

static void audited(const struct store_outcome *o, void *arg)
{
	*(size_t *)arg = json_array_size(o->rows);
	loop_stop(loop);
}

static void registrations_are_nothing_for_the_audit(void **state)
{
	size_t rows = 99;
	(void)state;
	set("bob@uc.test", binding("sip:bob@10.0.0.5", SIP_UDP, 600000));
	let_it_write();
	assert_int_equal(
		store_audit(store, &(struct store_call){ .loop = loop, .done = audited, .arg = &rows },
			    0, 10),
		0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(rows, 0);
}

static void a_name_that_is_no_text_lives_in_memory_alone(void **state)
{
	(void)state;
	struct sip_binding odd = binding("sip:bob@10.0.0.5", SIP_UDP, 600000);
	odd.instance = "\"\xff\"";
	set("b\xff@uc.test", binding("sip:bob@10.0.0.5", SIP_UDP, 600000));
	set("carol@uc.test", binding("sip:bob@10.0.0.5", SIP_UDP, 600000));
	let_it_write();
	odd.cseq = 8;
	set("carol@uc.test", odd); /* and what was written before is not true any more */
	let_it_write();
	assert_int_equal(sip_location_count(location), 2);
	stop();
	start();
	assert_int_equal(sip_location_count(location), 0);
}

/* Every value of the object taken out, or made another type: refused or left out, never half believed. */
static void what_the_store_holds_is_checked(void **state)
{
	const struct sip_times t = { loop_now(loop), 1700000000000 };
	struct sip_binding b = binding("sip:bob@10.0.0.5", SIP_UDP, 600000);
	json_t *body = sip_bindings_json(&b, 1, t);
	const json_t *row = json_array_get(json_object_get(body, "bindings"), 0);
	static const char *const needed[] = { "uri", "call", "transport", "remote" };
	const char *key;
	json_t *value;
	(void)state;
	assert_non_null(row);
	json_object_foreach((json_t *)row, key, value)
	{
		for (unsigned other = 0; other < 2; other++) {
			json_t *copy = json_deep_copy(body);
			json_t *in = json_array_get(json_object_get(copy, "bindings"), 0);
			bool must = false;
			for (size_t i = 0; i < ARRAY_LEN(needed); i++)
				must |= strcmp(key, needed[i]) == 0;
			if (other)
				json_object_set_new(in, key, json_pack("[s]", "x"));
			else
				json_object_del(in, key);
			int r = sip_bindings_take(location, "bob@uc.test", copy, t);
			assert_true(must ? r == -EBADMSG : r == 0 || r == 1 || r == -EALREADY);
			json_decref(copy);
		}
	}
	json_decref(body);
	static const char *const bad[] = {
		"{}",
		"{\"bindings\":7}",
		"{\"bindings\":[7]}",
		"{\"bindings\":[{\"uri\":\"x\"}]}",
		"{\"bindings\":[{\"uri\":\"sip:a@b\",\"call\":\"c\",\"transport\":\"pigeon\",\"remote\":\"192.0.2.1:5\",\"expires_ms\":9999999999999}]}",
		"{\"bindings\":[{\"uri\":\"sip:a@b\",\"call\":\"c\",\"transport\":\"udp\",\"remote\":\"nowhere\",\"expires_ms\":9999999999999}]}",
		"{\"bindings\":[{\"uri\":\"no uri\",\"call\":\"c\",\"transport\":\"udp\",\"remote\":\"192.0.2.1:5\",\"expires_ms\":9999999999999}]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		body = json_loads(bad[i], 0, NULL);
		assert_non_null(body);
		assert_int_equal(sip_bindings_take(location, "eve@uc.test", body, t), -EBADMSG);
		json_decref(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_registered_is_there_after_a_restart, begin, end),
		cmocka_unit_test_setup_teardown(what_ended_or_is_over_does_not_come_back, begin, end),
		cmocka_unit_test_setup_teardown(a_refreshed_binding_is_written_again, begin, end),
		cmocka_unit_test_setup_teardown(a_thousand_are_written, begin, end),
		cmocka_unit_test_setup_teardown(registrations_are_nothing_for_the_audit, begin, end),
		cmocka_unit_test_setup_teardown(a_name_that_is_no_text_lives_in_memory_alone, begin, end),
		cmocka_unit_test_setup_teardown(what_the_store_holds_is_checked, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
