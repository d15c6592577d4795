/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of values: what each takes, how it prints it, and what it says to everything else.
 *
 * One table row per text. A good value is printed and must come back unchanged through its own
 * parse function; a bad one must leave the destination as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/config.h"

static const char *const protos[] = { "udp", "tcp", "tls", "dtls", NULL };
static const char *const ourselves[] = { "turn", NULL };

/* clang-format off */
static const struct cfg_row
	u64 = { .name = "n", .type = &cfg_u64, .min = 1, .max = 65535, .unit = "ms" },
	least = { .name = "n", .type = &cfg_u64, .min = 10 },
	any = { .name = "n", .type = &cfg_u64 },
	count = { .name = "n", .type = &cfg_count, .min = 1 },
	limited = { .name = "n", .type = &cfg_count, .max = 100 },
	boolean = { .name = "b", .type = &cfg_bool },
	string = { .name = "s", .type = &cfg_string, .min = 1, .max = 8 },
	path = { .name = "s", .type = &cfg_path },
	choice = { .name = "e", .type = &cfg_enum, .choices = protos },
	duration = { .name = "d", .type = &cfg_duration, .min = 500, .max = 7200000 },
	size = { .name = "z", .type = &cfg_size, .min = 1000 },
	rate = { .name = "r", .type = &cfg_bitrate, .min = 64000 },
	capped = { .name = "r", .type = &cfg_bitrate, .max = 1000000 },
	ip = { .name = "a", .type = &cfg_ip },
	at = { .name = "a", .type = &cfg_addr },
	at_default = { .name = "a", .type = &cfg_addr, .default_port = 25 },
	prefix = { .name = "p", .type = &cfg_prefix },
	ports = { .name = "p", .type = &cfg_ports },
	high = { .name = "p", .type = &cfg_ports, .min = 1024, .max = 60000 },
	endpoint = { .name = "l", .type = &cfg_endpoint, .choices = protos },
	plain = { .name = "l", .type = &cfg_endpoint, .default_port = 8443 },
	socket_too = { .name = "l", .type = &cfg_endpoint, .choices = protos, .flags = CFG_UNIX },
	backend = { .name = "b", .type = &cfg_backend, .choices = ourselves },
	elsewhere = { .name = "b", .type = &cfg_backend },
	host = { .name = "h", .type = &cfg_hostport },
	host_default = { .name = "h", .type = &cfg_hostport, .default_port = 3478 };

static const struct {
	const struct cfg_row *row;
	const char *text, *printed;
} good[] = {
	{ &u64, "1", "1" }, { &u64, "65535", "65535" }, { &u64, "0010", "10" }, { &any, "18446744073709551615", "18446744073709551615" },
	{ &any, "0", "0" }, { &count, "unlimited", "unlimited" }, { &count, "7", "7" }, { &limited, "0", "0" },
	{ &boolean, "true", "true" }, { &boolean, "Yes", "true" }, { &boolean, "on", "true" }, { &boolean, "false", "false" },
	{ &boolean, "no", "false" }, { &boolean, "OFF", "false" },
	{ &string, "a b", "a b" }, { &string, "\xc3\xa4", "\xc3\xa4" }, { &path, "a/b", "a/b" }, { &choice, "tls", "tls" },
	{ &duration, "90", "90s" }, { &duration, "1500ms", "1500ms" }, { &duration, "2h", "2h" }, { &duration, "120s", "2m" },
	{ &size, "1000", "1KB" }, { &size, "10MB", "10MB" }, { &size, "64KiB", "64KiB" }, { &size, "1001", "1001" }, { &size, "2GiB", "2GiB" },
	{ &rate, "64kbit/s", "64kbit/s" }, { &rate, "2Mbit/s", "2Mbit/s" }, { &rate, "64001", "64001" }, { &rate, "unlimited", "unlimited" },
	{ &capped, "0", "0" },
	{ &ip, "192.0.2.1", "192.0.2.1" }, { &ip, "2001:db8::1", "2001:db8::1" },
	{ &at, "192.0.2.1:25", "192.0.2.1:25" }, { &at, "[::1]:25", "[::1]:25" }, { &at_default, "192.0.2.1", "192.0.2.1:25" },
	{ &at_default, "::1", "[::1]:25" },
	{ &prefix, "10.0.0.0/8", "10.0.0.0/8" }, { &prefix, "2001:db8::/32", "2001:db8::/32" },
	{ &ports, "49152-65535", "49152-65535" }, { &ports, "22", "22" }, { &ports, "1 - 2", "1-2" }, { &high, "1024-60000", "1024-60000" },
	{ &endpoint, "udp:0.0.0.0:3478", "udp:0.0.0.0:3478" }, { &endpoint, "dtls:[::]:5349", "dtls:[::]:5349" },
	{ &socket_too, "tls:unix:/run/a.sock", "tls:unix:/run/a.sock" }, { &socket_too, "tcp:[::]:1", "tcp:[::]:1" },
	{ &backend, "turn", "turn" }, { &backend, "unix:/run/a:b.sock", "unix:/run/a:b.sock" }, { &backend, "[::1]:8443", "[::1]:8443" },
	{ &elsewhere, "127.0.0.1:8443", "127.0.0.1:8443" },
	{ &plain, "127.0.0.1", "127.0.0.1:8443" }, { &plain, "[::1]:1", "[::1]:1" },
	{ &host, "stun.example.net:3478", "stun.example.net:3478" }, { &host, "192.0.2.1:1", "192.0.2.1:1" }, { &host, "[::1]:1", "[::1]:1" },
	{ &host_default, "xn--bcher-kva.example", "xn--bcher-kva.example:3478" }, { &host_default, "localhost", "localhost:3478" },
	{ &host_default, "2001:db8::1", "[2001:db8::1]:3478" },
};

static const struct {
	const struct cfg_row *row;
	const char *text, *error;
} bad[] = {
	{ &u64, "0", "'n' must be 1..65535 ms, not '0'" }, { &u64, "99999999999999999999", "'n' must be 1..65535 ms, not '99999999999999999999'" },
	{ &u64, "-1", "'n' must be a whole number, not '-1'" }, { &u64, "", "'n' must be a whole number, not ''" },
	{ &u64, "1.5", "'n' must be a whole number, not '1.5'" }, { &u64, " 1", "'n' must be a whole number, not ' 1'" },
	{ &least, "9", "'n' must be at least 10, not '9'" }, { &any, "18446744073709551616", "'n' must be below 2^64, not '18446744073709551616'" },
	{ &count, "0", "'n' must be at least 1, not '0'" }, { &count, "many", "'n' must be a whole number or unlimited, not 'many'" },
	{ &limited, "unlimited", "'n' must be 0..100, not 'unlimited'" },
	{ &boolean, "1", "'b' must be true or false, not '1'" }, { &boolean, "", "'b' must be true or false, not ''" },
	{ &string, "", "'s' must not be empty" }, { &string, "123456789", "'s' must be at most 8 bytes long, not 9" },
	{ &string, "a\tb", "'s' must not hold control characters" }, { &string, "a\n", "'s' must be one line" }, { &string, "\xff", "'s' must be UTF-8" },
	{ &path, "", "'s' must not be empty" },
	{ &choice, "tlss", "'e' must be one of udp, tcp, tls, dtls, not 'tlss'; did you mean 'tls'?" },
	{ &choice, "carrier pigeon", "'e' must be one of udp, tcp, tls, dtls, not 'carrier pigeon'" },
	{ &choice, "UDP ", "'e' must be one of udp, tcp, tls, dtls, not 'UDP '" },
	{ &duration, "499ms", "'d' must be 500ms..2h, not '499ms'" }, { &duration, "3h", "'d' must be 500ms..2h, not '3h'" },
	{ &duration, "soon", "'d' must be a duration such as 500ms, 30s, 5m, 2h or 7d, not 'soon'" },
	{ &size, "999", "'z' must be at least 1KB, not '999'" }, { &size, "10 bananas", "'z' must be a size such as 64KB, 10MB or 1GiB, not '10 bananas'" },
	{ &rate, "1", "'r' must be at least 64kbit/s, not '1'" },
	{ &rate, "1MB", "'r' must be a bit rate such as 64kbit/s, 2Mbit/s or unlimited, not '1MB'" },
	{ &capped, "unlimited", "'r' must be 0..1Mbit/s, not 'unlimited'" },
	{ &ip, "192.0.2.1:80", "'a' must be an address without a port, not '192.0.2.1:80'" },
	{ &ip, "[::1]", "'a' must be an address without a port, not '[::1]'" }, { &ip, "192.0.2.1:0", "'a' must be an address without a port, not '192.0.2.1:0'" },
	{ &ip, "example.org", "'a' must be a numeric address such as 192.0.2.1 or 2001:db8::1, not 'example.org'" },
	{ &at, "192.0.2.1", "'a' must have a port from 1 to 65535, not '192.0.2.1'" },
	{ &at, "192.0.2.1:0", "'a' must have a port from 1 to 65535, not '192.0.2.1:0'" },
	{ &at, "::1", "'a' must have a port; an IPv6 address stands in brackets then, as [2001:db8::1]:3478, not '::1'" },
	{ &at, "::1:25", "'a' must have a port; an IPv6 address stands in brackets then, as [2001:db8::1]:3478, not '::1:25'" },
	{ &at, "*:25", "'a' must name an address; for all of them write 0.0.0.0 or [::], not '*'" },
	{ &at_default, "", "'a' must be a numeric address with a port, as 192.0.2.1:25 or [2001:db8::1]:25, not ''" },
	{ &prefix, "10.1.2.3/8", "'p' must not have bits set behind the prefix length; did you mean '10.0.0.0/8'?" },
	{ &prefix, "2001:db8::1/32", "'p' must not have bits set behind the prefix length; did you mean '2001:db8::/32'?" },
	{ &prefix, "10.0.0.0/33", "'p' must be a prefix such as 10.0.0.0/8 or 2001:db8::/32, not '10.0.0.0/33'" },
	{ &prefix, "10.0.0.0/", "'p' must be a prefix such as 10.0.0.0/8 or 2001:db8::/32, not '10.0.0.0/'" },
	{ &ports, "0", "'p' must lie within 1-65535, not '0'" }, { &ports, "1-65536", "'p' must lie within 1-65535, not '1-65536'" },
	{ &ports, "5-4", "'p' must begin with the lower port, not '5-4'" },
	{ &ports, "1-2-3", "'p' must be a range of ports such as 49152-65535, or one port, not '1-2-3'" },
	{ &ports, "-", "'p' must be a range of ports such as 49152-65535, or one port, not '-'" },
	{ &high, "80", "'p' must lie within 1024-60000, not '80'" },
	{ &endpoint, "0.0.0.0:3478", "'l' must begin with one of udp:, tcp:, tls:, dtls:, as udp:0.0.0.0:3478, not '0.0.0.0:3478'" },
	{ &endpoint, "ucp:0.0.0.0:1", "'l' must begin with one of udp:, tcp:, tls:, dtls:, not 'ucp:'; did you mean 'udp'?" },
	{ &endpoint, "udp:*:3478", "'l' must name an address; for all of them write 0.0.0.0 or [::], not '*'" },
	{ &endpoint, "udp:0.0.0.0:0", "'l' must have a port from 1 to 65535, not '0.0.0.0:0'" },
	{ &endpoint, "udp:[::]", "'l' must have a port from 1 to 65535, not '[::]'" },
	{ &endpoint, "udp:", "'l' must be a numeric address with a port, as 192.0.2.1:3478 or [2001:db8::1]:3478, not ''" },
	{ &endpoint, "", "'l' must begin with one of udp:, tcp:, tls:, dtls:, as udp:0.0.0.0:3478, not ''" },
	{ &endpoint, "tls:unix:/run/a.sock", "'l' must be a numeric address with a port, as 192.0.2.1:3478 or [2001:db8::1]:3478, not 'unix:/run/a.sock'" },
	{ &socket_too, "tls:unix:a.sock", "'l' must name a Unix socket by its whole path, as unix:/run/stile/turn-443.sock, not 'unix:a.sock'" },
	{ &socket_too, "unix:/run/a.sock", "'l' must begin with one of udp:, tcp:, tls:, dtls:, not 'unix:'" },
	{ &backend, "tunnel", "'b' must be turn, unix:/path/of/a.sock or an address with a port, as 127.0.0.1:8443, not 'tunnel'" },
	{ &backend, "127.0.0.1", "'b' must be turn, unix:/path/of/a.sock or an address with a port, as 127.0.0.1:8443, not '127.0.0.1'" },
	{ &backend, "unix:", "'b' must name a Unix socket by its whole path, as unix:/run/stile/turn-443.sock, not 'unix:'" },
	{ &socket_too, "tls:unix:/run/a\nb.sock", "'l' must be one line" },
	{ &backend, "unix:/run/a\x1b[2J.sock", "'b' must not hold control characters" },
	{ &backend, "unix:/run/\xff.sock", "'b' must be UTF-8" },
	{ &elsewhere, "turn", "'b' must be unix:/path/of/a.sock or an address with a port, as 127.0.0.1:8443, not 'turn'" },
	{ &host, "stun.example.net", "'h' must have a port from 1 to 65535, as stun.example.net:3478, not 'stun.example.net'" },
	{ &host, "a:0", "'h' must have a port from 1 to 65535, as stun.example.net:3478, not 'a:0'" },
	{ &host, "a:99999", "'h' must have a port from 1 to 65535, as stun.example.net:3478, not 'a:99999'" },
	{ &host_default, "a:", "'h' must have a port from 1 to 65535, as stun.example.net:3478, not 'a:'" },
	{ &host_default, "1.2.3", "'h' must be a name or an address with a port, as stun.example.net:3478, not '1.2.3'" },
	{ &host_default, "a..b", "'h' must be a name or an address with a port, as stun.example.net:3478, not 'a..b'" },
	{ &host_default, "-a", "'h' must be a name or an address with a port, as stun.example.net:3478, not '-a'" },
	{ &host_default, "", "'h' must be a name or an address with a port, as stun.example.net:3478, not ''" },
	{ &host_default, "b\xc3\xbc" "cher.example", "'h' must be a name or an address with a port, as stun.example.net:3478, not "
	  "'b\xc3\xbc" "cher.example'; a name outside ASCII is written in its xn-- form" },
	{ &any, "0123456789012345678901234567890123456789012345678901234567890",
	  "'n' must be below 2^64, not '012345678901234567890123456789012345678901234567…'" },
};
/* clang-format on */

static void a_good_value_prints_and_reads_back_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const struct cfg_row *row = good[i].row;
		_Alignas(max_align_t) char value[256] = { 0 }, again[256] = { 0 };
		char err[300] = "", out[128], out2[128];
		struct sb b = sb_init(out, sizeof(out)), b2 = sb_init(out2, sizeof(out2));
		if (row->type->parse(row, text_of(good[i].text), value, err, sizeof(err)) != 0)
			fail_msg("%s '%s': %s", row->type->name, good[i].text, err);
		row->type->print(row, value, &b);
		assert_string_equal(out, good[i].printed);
		assert_int_equal(row->type->parse(row, text_of(out), again, err, sizeof(err)), 0);
		row->type->print(row, again, &b2);
		assert_string_equal(out2, out);
		if (row->type->free) {
			row->type->free(value);
			row->type->free(again);
		}
	}
}

static void a_bad_value_gets_a_sentence_and_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct cfg_row *row = bad[i].row;
		_Alignas(max_align_t) char value[256] = { 0 }, zero[256] = { 0 };
		char err[300] = "";
		assert_int_equal(cfg_check_value(row, text_of(bad[i].text), err, sizeof(err)), -EINVAL);
		if (strcmp(err, bad[i].error) != 0)
			fail_msg("'%s':\n%s\ninstead of\n%s", bad[i].text, err, bad[i].error);
		assert_int_equal(row->type->parse(row, text_of(bad[i].text), value, err, sizeof(err)), -EINVAL);
		assert_memory_equal(value, zero, sizeof(zero));
	}
}

static void every_type_reads_its_own_example(void **state)
{
	static const struct cfg_type *const types[] = { &cfg_bool,     &cfg_u64,  &cfg_string, &cfg_path,   &cfg_duration,
							&cfg_size,     &cfg_bitrate, &cfg_count, &cfg_ip,   &cfg_addr,
							&cfg_prefix,   &cfg_ports, &cfg_endpoint, &cfg_backend, &cfg_hostport };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct cfg_row row = { .name = "x", .type = types[i], .choices = types[i] == &cfg_endpoint ? protos : NULL };
		char err[300] = "";
		if (cfg_check_value(&row, text_of(types[i]->example), err, sizeof(err)) != 0)
			fail_msg("%s: %s", types[i]->name, err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_value_prints_and_reads_back_the_same),
		cmocka_unit_test(a_bad_value_gets_a_sentence_and_changes_nothing),
		cmocka_unit_test(every_type_reads_its_own_example),
	};
	return cmocka_run_group_tests_name("config_types", tests, NULL, NULL);
}
