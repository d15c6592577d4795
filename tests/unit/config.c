/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: what a file gives, and what an administrator reads when it is wrong.
 *
 * Most tests load a text against one rich schema and compare all the errors, places included, with
 * what should be said. Those about conf.d, relative paths and secret files use a folder of their own.
 * The types have their tests in config_types.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/config.h"

static const char *const protos[] = { "udp", "tcp", "tls", "dtls", NULL };
static const char *const modes[] = { "off", "listed", "open", NULL };

struct user {
	char *name, *password;
	struct cfg_list ips;
};
struct lan {
	char *bind;
	uint64_t idle;
};
struct relay {
	struct cfg_port_range ports;
	unsigned mode;
};
struct turn {
	char *realm, *key, *password;
	struct cfg_list listen, users, allow;
	uint64_t workers, rate;
	bool verbose;
	struct relay relay;
	struct lan *lan;
};
struct all {
	struct turn turn;
	struct cfg_list stun_servers;
};

/* clang-format off */
#define ROWS(name_, rows_, type_) { .name = (name_), .rows = (rows_), .n_rows = ARRAY_LEN(rows_), .size = sizeof(type_) }
static const struct cfg_row user_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct user, name), .flags = CFG_REQUIRED, .min = 1, .max = 64, .help = "Who." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct user, password), .flags = CFG_SECRET, .min = 1, .help = "Secret." },
	{ .name = "ips", .type = &cfg_ip, CFG_AT(struct user, ips), .flags = CFG_LIST, .help = "From where." },
};
static const struct cfg_schema user_schema = ROWS("turn.users", user_rows, struct user);
static const struct cfg_row lan_rows[] = {
	{ .name = "bind", .type = &cfg_string, CFG_AT(struct lan, bind), .def = "lo", .help = "Interface." },
	{ .name = "idle", .type = &cfg_duration, CFG_AT(struct lan, idle), .def = "90s", .min = 1000, .max = 3600000, .help = "When to end." },
};
static const struct cfg_schema lan_schema = ROWS("turn.lan", lan_rows, struct lan);
static const struct cfg_row relay_rows[] = {
	{ .name = "ports", .type = &cfg_ports, CFG_AT(struct relay, ports), .def = "49152-65535", .flags = CFG_RELOAD, .help = "Relay ports." },
	{ .name = "mode", .type = &cfg_enum, CFG_AT(struct relay, mode), .choices = modes, .def = "listed", .help = "With a | and <tag>." },
};
static const struct cfg_schema relay_schema = ROWS("turn.relay", relay_rows, struct relay);
static const struct cfg_row turn_rows[] = {
	{ .name = "realm", .type = &cfg_string, CFG_AT(struct turn, realm), .def = "stile", .help = "Realm." },
	{ .name = "listen", .type = &cfg_endpoint, CFG_AT(struct turn, listen), .flags = CFG_LIST, .choices = protos, .most = 3,
	  .def = "udp:0.0.0.0:3478, tcp:[::]:3478", .help = "Where." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct turn, key), .help = "Key." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct turn, password), .flags = CFG_SECRET, .min = 4, .help = "Password." },
	{ .name = "users", .sub = &user_schema, CFG_AT(struct turn, users), .flags = CFG_LIST | CFG_RELOAD, .help = "Users." },
	{ .name = "allow", .type = &cfg_prefix, CFG_AT(struct turn, allow), .flags = CFG_LIST | CFG_REQUIRED, .help = "Peers." },
	{ .name = "workers", .type = &cfg_u64, CFG_AT(struct turn, workers), .max = 64, .unit = "threads", .help = "Threads." },
	{ .name = "rate", .type = &cfg_bitrate, CFG_AT(struct turn, rate), .def = "unlimited", .help = "Rate." },
	{ .name = "verbose", .type = &cfg_bool, CFG_AT(struct turn, verbose), .def = "no", .help = "Talk." },
	{ .name = "relay", .sub = &relay_schema, CFG_AT(struct turn, relay), .help = "Relay." },
	{ .name = "lan", .sub = &lan_schema, CFG_AT(struct turn, lan), .flags = CFG_OPTIONAL_MAP, .help = "LAN." },
};
static const struct cfg_schema turn_schema = ROWS("turn", turn_rows, struct turn);
static const struct cfg_row all_rows[] = {
	{ .name = "turn", .sub = &turn_schema, CFG_AT(struct all, turn), .help = "TURN." },
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct all, stun_servers), .flags = CFG_LIST, .default_port = 3478, .help = "STUN." },
};
static const struct cfg_schema all_schema = ROWS("", all_rows, struct all);
/* clang-format on */
static const char *const others[] = { "log", "sip", "console", NULL };
static const struct cfg_root root = { &all_schema, others };

/* ---- helpers ---- */

static char printed[16384];

static const char *errors_of(const struct cfg *c)
{
	FILE *f = fmemopen(printed, sizeof(printed), "w");
	assert_non_null(f);
	memset(printed, 0, sizeof(printed));
	cfg_print_errors(c, f);
	fclose(f);
	return printed;
}

static struct cfg *load(struct text yaml, int expected)
{
	struct cfg *c = NULL;
	int r = cfg_load_text(yaml, "f", &root, &c);
	assert_non_null(c);
	if (r != expected)
		print_error("%s", errors_of(c));
	assert_int_equal(r, expected);
	assert_int_equal(cfg_n_errors(c) == 0, expected == 0);
	return c;
}

static void expect_errors(const char *yaml, const char *errors)
{
	_cleanup_(cfg_freep) struct cfg *c = load(text_of(yaml), -EINVAL);
	assert_string_equal(errors_of(c), errors);
}

#define ALLOW "  allow: [10.0.0.0/8]\n"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/stile-config-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char paths[4][160];
	static unsigned next;
	char *p = paths[next++ % ARRAY_LEN(paths)];
	snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
	return p;
}

static void put_file(const char *name, struct text content, mode_t mode)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content.p, content.n), content.n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct cfg *load_file(const char *name, int expected)
{
	struct cfg *c = NULL;
	int r = cfg_load(path_of(name), &root, &c);
	assert_non_null(c);
	if (r != expected)
		print_error("%s", errors_of(c));
	assert_int_equal(r, expected);
	return c;
}

/* The errors with the folder's name taken out. */
static const char *errors_in_folder(const struct cfg *c)
{
	static char out[sizeof(printed)];
	size_t n = 0, cut = strlen(folder) + 1;
	for (const char *p = errors_of(c); *p && n < sizeof(out) - 1;)
		if (strncmp(p, folder, cut - 1) == 0)
			p += p[cut - 1] == '/' ? cut : cut - 1;
		else
			out[n++] = *p++;
	out[n] = 0;
	return out;
}

/* ---- good files ---- */

static void every_kind_of_value_reaches_its_field(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n"
						       "  realm: 0123 # stays a text\n"
						       "  listen: [\"udp:192.0.2.1:3478\", 'tls:[2001:db8::1]:5349']\n"
						       "  password: \"p w\\\"d\"\n"
						       "  users:\n"
						       "    - { name: alice, password: secret, ips: [192.0.2.7, '::1'] }\n"
						       "    - name: bob\n"
						       "  allow: [10.0.0.0/8, 2001:db8::/32]\n"
						       "  workers: 8\n"
						       "  rate: 2Mbit/s\n"
						       "  verbose: on\n"
						       "  relay: { ports: 1024-2047, mode: off }\n"
						       "  lan: { bind: eth0 }\n"
						       "stun_servers: [stun.example.net, 'stun2.example.net:19302']\n"
						       "sip: { whatever: [1, {x: y}] }\n"),
						  0);
	const struct all *a = cfg_values(c);
	const struct cfg_endpoint *e = a->turn.listen.items;
	const struct user *u = a->turn.users.items;
	const struct cfg_hostport *h = a->stun_servers.items;
	char buf[ADDR_STRLEN];
	assert_string_equal(a->turn.realm, "0123");
	assert_string_equal(a->turn.password, "p w\"d");
	assert_int_equal(a->turn.listen.n, 2);
	assert_int_equal(e[1].proto, 2);
	assert_string_equal(addr_print(&e[1].at, buf), "[2001:db8::1]:5349");
	assert_int_equal(a->turn.users.n, 2);
	assert_string_equal(u[0].name, "alice");
	assert_string_equal(u[0].password, "secret");
	assert_int_equal(u[0].ips.n, 2);
	assert_string_equal(u[1].name, "bob");
	assert_null(u[1].password);
	assert_int_equal(a->turn.allow.n, 2);
	assert_int_equal(a->turn.workers, 8);
	assert_int_equal(a->turn.rate, 2000000);
	assert_true(a->turn.verbose);
	assert_int_equal(a->turn.relay.ports.last, 2047);
	assert_int_equal(a->turn.relay.mode, 0);
	assert_non_null(a->turn.lan);
	assert_string_equal(a->turn.lan->bind, "eth0");
	assert_int_equal(a->turn.lan->idle, 90000);
	assert_int_equal(h[0].port, 3478);
	assert_string_equal(h[1].host, "stun2.example.net");
	assert_int_equal(h[1].port, 19302);
}

static void absent_keys_get_their_defaults_through_the_same_rules(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n" ALLOW), 0);
	const struct all *a = cfg_values(c);
	const struct cfg_endpoint *e = a->turn.listen.items;
	char buf[ADDR_STRLEN];
	assert_string_equal(a->turn.realm, "stile");
	assert_int_equal(a->turn.listen.n, 2);
	assert_int_equal(e[0].proto, 0);
	assert_string_equal(addr_print(&e[1].at, buf), "[::]:3478");
	assert_int_equal(a->turn.rate, UINT64_MAX);
	assert_int_equal(a->turn.relay.mode, 1);
	assert_int_equal(a->turn.relay.ports.first, 49152);
	assert_null(a->turn.lan);
	assert_null(a->turn.key);
	assert_int_equal(a->turn.users.n, 0);
}

static void an_empty_list_or_map_stays_empty_and_does_not_fall_back(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n  listen: []\n  users:\n  #  - name: a\n  lan:\n  relay: ~\n" ALLOW), 0);
	const struct all *a = cfg_values(c);
	assert_int_equal(a->turn.listen.n, 0);
	assert_int_equal(a->turn.users.n, 0);
	assert_non_null(a->turn.lan);
	assert_int_equal(a->turn.lan->idle, 90000);
	assert_int_equal(a->turn.relay.mode, 1);
}

/* A program whose schema has nothing that is required. */
static void an_empty_file_is_all_defaults(void **state)
{
	static const struct cfg_root lan_root = { &lan_schema, NULL };
	static const char *const empties[] = { "", "\n\n", "# only a comment\n", "---\n", "\xef\xbb\xbf", "~\n", "---\n...\n", "{}" };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(empties); i++) {
		_cleanup_(cfg_freep) struct cfg *c = NULL;
		assert_int_equal(cfg_load_text(text_of(empties[i]), "f", &lan_root, &c), 0);
		assert_string_equal(((const struct lan *)cfg_values(c))->bind, "lo");
	}
}

static void a_byte_order_mark_and_windows_line_ends_do_no_harm(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("\xef\xbb\xbfturn:\r\n  realm: a\xc3\xa4\r\n  allow: [10.0.0.0/8]\r\n"), 0);
	const struct all *a = cfg_values(c);
	assert_string_equal(a->turn.realm, "a\xc3\xa4");
	expect_errors("\xef\xbb\xbfturn:\r\n  realm: a\r\n  relam: b\r\n" ALLOW,
		      "f:3:3: unknown key 'relam' in turn; did you mean 'realm'?\n");
}

/* ---- bad files ---- */

static void all_errors_are_shown_in_the_order_of_the_file(void **state)
{
	(void)state;
	expect_errors("turn:\n"
		      "  workers: 99\n"
		      "  relam: x\n"
		      "  users:\n"
		      "    - { nam: c }\n"
		      "    - { name: d, ips: [10.0.0.1, 10.0.0.256] }\n"
		      "  relay:\n"
		      "    mode: lsted\n"
		      "trun: {}\n",
		      "f:1:1: 'allow' is required in turn\n"
		      "f:2:12: 'workers' must be 0..64 threads, not '99'\n"
		      "f:3:3: unknown key 'relam' in turn; did you mean 'realm'?\n"
		      "f:5:7: 'name' is required in turn.users\n"
		      "f:5:9: unknown key 'nam' in turn.users; did you mean 'name'?\n"
		      "f:6:34: an item of 'ips' must be a numeric address such as 192.0.2.1 or 2001:db8::1, not '10.0.0.256'\n"
		      "f:8:11: 'mode' must be one of off, listed, open, not 'lsted'; did you mean 'listed'?\n"
		      "f:9:1: unknown section 'trun'; did you mean 'turn'?\n");
}

static void unknown_keys_name_what_was_probably_meant(void **state)
{
	(void)state;
	expect_errors("turn:\n" ALLOW "lgo: {}\n", "f:3:1: unknown section 'lgo'; did you mean 'log'?\n");
	expect_errors("turn:\n" ALLOW "consolle: {}\n", "f:3:1: unknown section 'consolle'; did you mean 'console'?\n");
	expect_errors("turn:\n" ALLOW "users: []\n",
		      "f:3:1: unknown section 'users'; it belongs in turn: is the line indented wrongly?\n");
	expect_errors("turn:\n" ALLOW "  ports: 1\n",
		      "f:3:3: unknown key 'ports' in turn; it belongs in turn.relay: is the line indented wrongly?\n");
	expect_errors("turn:\n" ALLOW "  relay: { quite_else: 1 }\n",
		      "f:3:12: unknown key 'quite_else' in turn.relay; known are: ports, mode\n");
	expect_errors("turn:\n" ALLOW "  realm_file: x\n", /* not a secret */
		      "f:3:3: unknown key 'realm_file' in turn; known are: realm, listen, key, password, users, allow, workers, rate, "
		      "verbose, relay, lan\n");
}

static void a_value_of_the_wrong_kind_is_told_what_was_expected(void **state)
{
	(void)state;
	expect_errors("turn:\n  listen: udp:0.0.0.0:3478\n" ALLOW,
		      "f:2:11: 'listen' must be a list; write listen: [\"udp:0.0.0.0:3478\"]\n");
	expect_errors("turn:\n  users: { name: x }\n" ALLOW,
		      "f:2:10: 'users' must be a list, not a map; each item begins with '- '\n");
	expect_errors("turn:\n  users: [ alice, [], ~ ]\n" ALLOW,
		      "f:2:12: an item of 'users' must be a map such as {name: …}, not a text\n"
		      "f:2:19: an item of 'users' must be a map such as {name: …}, not a list\n"
		      "f:2:23: an item of 'users' must be a map such as {name: …}, not nothing\n");
	expect_errors("turn:\n  realm: [a]\n  workers: {a: b}\n" ALLOW,
		      "f:2:10: 'realm' must be one text, not a list\n"
		      "f:3:12: 'workers' must be one number, not a map\n");
	expect_errors("turn:\n  relay: on\n  lan: [x]\n" ALLOW,
		      "f:2:10: 'relay' must be a map of keys, not a text\n"
		      "f:3:8: 'lan' must be a map of keys, not a list\n");
	expect_errors("turn: x\n", "f:1:7: 'turn' must be a map of keys, not a text\n");
	expect_errors("- a\n", "f:1:1: expected sections such as 'log:', found a list\n");
	expect_errors("hello\n", "f:1:1: expected sections such as 'log:', found a text\n");
}

static void a_list_that_has_more_items_than_it_may_is_refused_and_not_cut(void **state)
{
	(void)state;
	cfg_free(load(
		TEXT("turn:\n  listen: [\"udp:192.0.2.1:1\", \"udp:192.0.2.1:2\", \"udp:192.0.2.1:3\"]\n" ALLOW),
		0));
	expect_errors("turn:\n  listen: [\"udp:192.0.2.1:1\", \"udp:192.0.2.1:2\", \"udp:192.0.2.1:3\", \"udp:192.0.2.1:4\"]\n" ALLOW,
		      "f:2:11: 'listen' has at most 3 items, not 4\n");
}

static void a_key_without_a_value_is_an_error_and_never_an_empty_password(void **state)
{
	(void)state;
	expect_errors("turn:\n  realm:\n  password: ~\n  workers: null\n" ALLOW,
		      "f:2:9: 'realm' has no value; an empty text is written \"\"\n"
		      "f:3:13: 'password' has no value\n"
		      "f:4:12: 'workers' has no value\n");
	expect_errors("turn:\n  allow: [10.0.0.0/8, ]\n  listen: [~]\n", "f:3:12: an item of 'listen' has no value\n");
	expect_errors("turn:\n  allow:\n", "f:2:9: 'allow' needs at least one item\n");
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n  realm: \"\"\n" ALLOW), 0);
	assert_string_equal(((const struct all *)cfg_values(c))->turn.realm, "");
}

static void duplicate_keys_name_both_places(void **state)
{
	(void)state;
	expect_errors("turn:\n" ALLOW "  realm: a\n  realm: b\n  relay: {mode: off, mode: open}\n",
		      "f:4:3: 'realm' is set twice; the first time in line 3\n"
		      "f:5:22: 'mode' is set twice; the first time in line 5\n");
	expect_errors("turn:\n" ALLOW "log:\n  a: 1\nlog:\n  a: 1\n", "f:5:1: 'log' is set twice; the first time in line 3\n");
}

static void anchors_aliases_tags_and_merge_keys_are_refused(void **state)
{
	(void)state;
	expect_errors("turn: &t\n" ALLOW "  realm: !!str x\n  workers: *t\n  relay:\n    <<: *t\n",
		      "f:1:7: anchors (&name) are not supported; write the value out\n"
		      "f:3:10: tags (!name) are not supported; quote the text if it begins with '!'\n"
		      "f:4:12: aliases (*name) are not supported; write the value out\n"
		      "f:6:5: merge keys (<<) are not supported; write the keys out\n"
		      "f:6:9: aliases (*name) are not supported; write the value out\n");
}

static void what_is_no_yaml_stops_its_file_with_the_place(void **state)
{
	(void)state;
	expect_errors("turn:\n\trealm: x\n", "f:2:1: a tab in the indentation: YAML is indented with blanks\n");
	expect_errors("turn:\n  realm: \"x\n",
		      "f:3:1: not valid YAML: found unexpected end of stream (while scanning a quoted scalar that began in line 2)\n");
	expect_errors("turn: [a\n", "f:2:1: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that "
				    "began in line 1)\n");
	expect_errors("turn:\n  listen: [udp:[::]:3478]\n",
		      "f:2:15: not valid YAML: found unexpected ':'; an address in brackets must be quoted, as "
		      "\"udp:[::]:3478\"\n");
	expect_errors("turn:\n  password: @home\n",
		      "f:2:13: not valid YAML: found character that cannot start any token; quote a text that begins with %, @ or `\n");
	expect_errors("turn:\n  realm: a: b\n",
		      "f:2:11: not valid YAML: mapping values are not allowed in this context; check the indentation and the ':' of "
		      "the line above, and quote a text that holds ': '\n");
	expect_errors("turn:\n  realm: a\n users: []\n",
		      "f:3:2: not valid YAML: did not find expected key (while parsing a block mapping that began in line 1); check "
		      "the indentation of this line\n");
	expect_errors("turn:\n  realm\n  users: []\n",
		      "f:3:8: not valid YAML: mapping values are not allowed in this context; check the indentation and the ':' of "
		      "the line above, and quote a text that holds ': '\n");
	expect_errors("a: b\n---\nc: d\n", "f:2:1: a second document (---) begins here; a file holds one\n");
	expect_errors("? [a]\n: b\n", "f:1:3: a key must be a text, not a list\n");
	expect_errors("turn:\n  realm: \"a\\0b\"\n" ALLOW, "f:2:10: a value must not hold a NUL byte\n");
}

static void bytes_that_are_no_text_are_refused_with_their_place(void **state)
{
	static const struct {
		struct text yaml;
		const char *errors;
	} cases[] = {
		{ TEXT("a: b\nc: \0\n"), "f:2:4: a NUL byte: this is not a text file\n" },
		{ TEXT("a: \xc3\xa4\xff\n"), "f:1:5: not UTF-8: save the file in that encoding\n" },
		{ TEXT("a: b\r\rc: \x1b[2J"), "f:3:4: a control character\n" },
		{ TEXT("a: \xc2\x9b"), "f:1:4: a control character\n" },
		{ TEXT("\xff\xfet\0u\0"), "f:1:1: this is UTF-16: save the file as UTF-8\n" },
		{ TEXT("a: \xed\xa0\x80"), "f:1:4: not UTF-8: save the file in that encoding\n" },
		{ TEXT("a: \xe2\x82"), "f:1:4: not UTF-8: save the file in that encoding\n" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(cfg_freep) struct cfg *c = load(cases[i].yaml, -EINVAL);
		assert_string_equal(errors_of(c), cases[i].errors);
	}
}

static void quoted_control_bytes_never_reach_the_terminal(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n  \"a\\e[2J\\n\\u009b\": 1\n  workers: \"\\e]0;x\\a\"\n" ALLOW), -EINVAL);
	for (const char *p = errors_of(c); *p; p++) {
		assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
		assert_false((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0);
	}
	assert_int_equal(cfg_n_errors(c), 2);
	/* A cut that falls inside a letter leaves a question mark, not half a letter. */
	expect_errors("turn:\n  workers: 12345678901234567890123456789012345678901234567\xc3\xa4\n" ALLOW,
		      "f:2:12: 'workers' must be a whole number, not '12345678901234567890123456789012345678901234567?…'\n");
}

static void depth_keys_nodes_and_size_are_bounded(void **state)
{
	(void)state;
	expect_errors("[[[[[[[[[[[[[[[[[[[[[[[[", "f:1:17: lists and maps are nested more than 16 deep\n");
	size_t cap = (4 << 20) + 1, n = 0;
	_cleanup_(freep) char *big = malloc(cap);
	assert_non_null(big);
	for (int i = 0; i < 1001; i++)
		n += (size_t)snprintf(big + n, cap - n, "k%d: 1\n", i);
	_cleanup_(cfg_freep) struct cfg *keys = load((struct text){ big, n }, -EINVAL);
	assert_string_equal(errors_of(keys), "f:1001:1: more than 1000 keys in one map\n");
	n = (size_t)snprintf(big, cap, "log: [");
	for (int i = 0; i < 100001; i++)
		n += (size_t)snprintf(big + n, cap - n, "1,");
	_cleanup_(cfg_freep) struct cfg *nodes = load((struct text){ big, n }, -EINVAL);
	assert_non_null(strstr(errors_of(nodes), "more than 100000 values: this is not a configuration"));
	memset(big, '#', cap);
	_cleanup_(cfg_freep) struct cfg *size = load((struct text){ big, cap }, -EFBIG);
	assert_string_equal(errors_of(size), "f: larger than 4 MiB: this is not a configuration\n");
	_cleanup_(cfg_freep) struct cfg *just = NULL;
	assert_int_equal(cfg_load_text((struct text){ big, cap - 1 }, "f", &(struct cfg_root){ &lan_schema, NULL }, &just), 0);
}

static void only_so_many_errors_are_kept_but_all_are_counted(void **state)
{
	char yaml[8192];
	size_t n = (size_t)snprintf(yaml, sizeof(yaml), "turn:\n" ALLOW "  users:\n");
	(void)state;
	for (int i = 0; i < 80; i++)
		n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "    - {name: \"\"}\n");
	_cleanup_(cfg_freep) struct cfg *c = load((struct text){ yaml, n }, -EINVAL);
	assert_int_equal(cfg_n_errors(c), 64);
	assert_non_null(strstr(errors_of(c), "… and 16 more errors\n"));
	assert_null(cfg_error(c, 64));
}

/* ---- files ---- */

static void a_missing_file_is_one_error_about_the_file(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load_file("no.yaml", -ENOENT);
	assert_string_equal(errors_in_folder(c), "no.yaml: cannot be read: No such file or directory\n");
	_cleanup_(cfg_freep) struct cfg *dir = load_file("", -EISDIR);
	assert_int_equal(cfg_n_errors(dir), 1);
}

static void conf_d_merges_maps_by_key_and_appends_lists_in_name_order(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path_of("conf.d"), 0700), 0);
	put_file("main.yaml", TEXT("turn:\n  users: [{name: a}]\n  relay:\n"), 0600);
	put_file("conf.d/20.yaml", TEXT("turn:\n  users:\n    - name: c\n" ALLOW), 0600);
	put_file("conf.d/10.yaml", TEXT("turn:\n  users: [{name: b}]\n  relay: {mode: open}\nlog: {x: y}\n"), 0600);
	put_file("conf.d/.hidden.yaml", TEXT("]["), 0600);
	put_file("conf.d/readme.txt", TEXT("]["), 0600);
	put_file("conf.d/30.yml", TEXT("]["), 0600);
	_cleanup_(cfg_freep) struct cfg *c = load_file("main.yaml", 0);
	const struct all *a = cfg_values(c);
	const struct user *u = a->turn.users.items;
	const char *file;
	unsigned line;
	assert_int_equal(a->turn.users.n, 3);
	assert_string_equal(u[0].name, "a");
	assert_string_equal(u[1].name, "b");
	assert_string_equal(u[2].name, "c");
	assert_int_equal(a->turn.relay.mode, 2);
	assert_true(cfg_where(c, "turn.users[2].name", &file, &line));
	assert_string_equal(file, path_of("conf.d/20.yaml"));
	assert_int_equal(line, 3);
	assert_int_equal(cfg_n_warnings(c), 1);
	assert_string_equal(cfg_warning(c, 0)->text, "conf.d/30.yml is not read: its name must end in .yaml");
}

static void a_scalar_set_in_two_files_names_both(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path_of("conf.d"), 0700), 0);
	put_file("main.yaml", TEXT("turn:\n  realm: a\n  users: []\n" ALLOW), 0600);
	put_file("conf.d/a.yaml", TEXT("turn:\n  realm: a\n  users: {}\n"), 0600);
	put_file("conf.d/b.yaml", TEXT("turn: [\n"), 0600);
	char expected[512];
	_cleanup_(cfg_freep) struct cfg *c = load_file("main.yaml", -EINVAL);
	snprintf(expected, sizeof(expected),
		 "%s/conf.d/a.yaml:2:3: 'realm' is set twice; the first time in %s/main.yaml:2\n"
		 "%s/conf.d/a.yaml:3:3: 'users' is set twice; the first time in %s/main.yaml:3\n",
		 folder, folder, folder, folder);
	assert_int_equal(strncmp(errors_of(c), expected, strlen(expected)), 0);
	assert_int_equal(cfg_n_errors(c), 3); /* the third is b.yaml's syntax */
}

static void relative_paths_start_at_the_folder_of_the_file_that_names_them(void **state)
{
	char cwd[512];
	(void)state;
	put_file("main.yaml", TEXT("turn:\n  key: tls/server.key\n" ALLOW), 0600);
	_cleanup_(cfg_freep) struct cfg *c = load_file("main.yaml", 0);
	assert_string_equal(((const struct all *)cfg_values(c))->turn.key, path_of("tls/server.key"));
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(folder), 0);
	_cleanup_(cfg_freep) struct cfg *here = NULL;
	assert_int_equal(cfg_load("main.yaml", &root, &here), 0);
	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(((const struct all *)cfg_values(here))->turn.key, path_of("tls/server.key"));
	put_file("main.yaml", TEXT("turn:\n  key: /abs/key\n" ALLOW), 0600);
	_cleanup_(cfg_freep) struct cfg *abs = load_file("main.yaml", 0);
	assert_string_equal(((const struct all *)cfg_values(abs))->turn.key, "/abs/key");
}

static void a_secret_may_come_from_a_file_without_its_last_newline(void **state)
{
	static const struct {
		struct text content;
		const char *secret;
	} cases[] = { { TEXT("hunter2"), "hunter2" },
		      { TEXT("hunter2\n"), "hunter2" },
		      { TEXT("hunter2\r\n"), "hunter2" },
		      { TEXT("hunter2 "), "hunter2 " } };
	(void)state;
	put_file("main.yaml", TEXT("turn:\n  password_file: pw\n" ALLOW), 0644);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *file;
		unsigned line;
		put_file("pw", cases[i].content, 0640);
		_cleanup_(cfg_freep) struct cfg *c = load_file("main.yaml", 0);
		assert_string_equal(((const struct all *)cfg_values(c))->turn.password, cases[i].secret);
		assert_int_equal(cfg_n_warnings(c), 0);
		assert_true(cfg_where(c, "turn.password", &file, &line));
		assert_int_equal(line, 2);
	}
}

static void a_bad_secret_file_is_an_error_that_does_not_show_the_secret(void **state)
{
	static const struct {
		struct text content;
		const char *error;
	} cases[] = { { TEXT(""), "pw is empty" },
		      { TEXT("\n"), "pw is empty" },
		      { TEXT("hunter2\nhunter3\n"), "must be one line" },
		      { TEXT("hun\0ter2"), "pw holds a NUL byte: it is not a text" },
		      { TEXT("abc"), "'password' must be at least 4 bytes long, not 3" } };
	(void)state;
	put_file("main.yaml", TEXT("turn:\n  password_file: pw\n" ALLOW), 0600);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_file("pw", cases[i].content, 0600);
		_cleanup_(cfg_freep) struct cfg *c = load_file("main.yaml", -EINVAL);
		assert_int_equal(cfg_n_errors(c), 1);
		assert_non_null(strstr(cfg_error(c, 0)->text, cases[i].error));
		assert_null(strstr(cfg_error(c, 0)->text, "hun"));
		assert_int_equal(cfg_error(c, 0)->line, 2);
		assert_int_equal(cfg_error(c, 0)->column, 18);
	}
	unlink(path_of("pw"));
	_cleanup_(cfg_freep) struct cfg *missing = load_file("main.yaml", -EINVAL);
	assert_non_null(strstr(errors_in_folder(missing), "'password_file': pw cannot be read: No such file"));
	put_file("main.yaml", TEXT("turn:\n  password_file: []\n  password: abcd\n" ALLOW), 0600);
	_cleanup_(cfg_freep) struct cfg *both = load_file("main.yaml", -EINVAL);
	assert_string_equal(errors_in_folder(both), "main.yaml:2:3: both 'password' and 'password_file' are set; keep one\n");
}

static void a_secret_that_everyone_can_read_is_a_warning_once_per_file(void **state)
{
	(void)state;
	put_file("main.yaml", TEXT("turn:\n  password: abcd\n  users: [{name: a, password: x}]\n" ALLOW), 0644);
	_cleanup_(cfg_freep) struct cfg *inline_ = load_file("main.yaml", 0);
	assert_int_equal(cfg_n_warnings(inline_), 1);
	assert_string_equal(cfg_warning(inline_, 0)->text,
			    "this file holds a secret and can be read by everyone (mode 0644); chmod o-r is safer");
	assert_int_equal(cfg_warning(inline_, 0)->line, 2);
	put_file("main.yaml", TEXT("turn:\n  password_file: pw\n" ALLOW), 0644);
	put_file("pw", TEXT("abcd\n"), 0604);
	_cleanup_(cfg_freep) struct cfg *file = load_file("main.yaml", 0);
	assert_int_equal(cfg_n_warnings(file), 1);
	assert_non_null(strstr(cfg_warning(file, 0)->text, "pw can be read by everyone (mode 0604)"));
}

static void a_secret_may_be_a_systemd_credential(void **state)
{
	(void)state;
	put_file("turn.password", TEXT("from systemd\n"), 0400);
	put_file("main.yaml", TEXT("turn:\n  password_file: cred:turn.password\n  key: cred:tls.key\n" ALLOW), 0600);
	unsetenv("CREDENTIALS_DIRECTORY");
	_cleanup_(cfg_freep) struct cfg *without = load_file("main.yaml", -EINVAL);
	assert_int_equal(cfg_n_errors(without), 2);
	assert_non_null(strstr(cfg_error(without, 0)->text, "$CREDENTIALS_DIRECTORY is not set"));
	setenv("CREDENTIALS_DIRECTORY", folder, 1);
	_cleanup_(cfg_freep) struct cfg *with = load_file("main.yaml", 0);
	const struct all *a = cfg_values(with);
	assert_string_equal(a->turn.password, "from systemd");
	assert_string_equal(a->turn.key, path_of("tls.key"));
	put_file("main.yaml", TEXT("turn:\n  password_file: cred:../etc/passwd\n" ALLOW), 0600);
	_cleanup_(cfg_freep) struct cfg *escape = load_file("main.yaml", -EINVAL);
	assert_non_null(strstr(cfg_error(escape, 0)->text, "wants the name of a credential"));
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void a_secret_never_appears_in_an_error(void **state)
{
	(void)state;
	expect_errors("turn:\n  password: [hunter2]\n" ALLOW, "f:2:13: 'password' must be one text, not a list\n");
	expect_errors("turn:\n  password: hun\n" ALLOW, "f:2:13: 'password' must be at least 4 bytes long, not 3\n");
	expect_errors("turn:\n  password: \"hunter2\\n\"\n" ALLOW, "f:2:13: 'password' must be one line\n");
}

/* ---- places and single values ---- */

static void a_place_is_found_by_its_path(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n" ALLOW "  users:\n  - name: a\n  - name: b\n    ips:\n      - 10.0.0.1\n"), 0);
	const char *file = NULL;
	unsigned line = 0;
	assert_true(cfg_where(c, "turn", &file, &line));
	assert_int_equal(line, 1);
	assert_string_equal(file, "f");
	assert_true(cfg_where(c, "turn.users[1].name", &file, &line));
	assert_int_equal(line, 5);
	assert_true(cfg_where(c, "turn.users[1].ips[0]", &file, &line));
	assert_int_equal(line, 7);
	static const char *const absent[] = { "turn.realm", "turn.users[2]", "turn.users[x]", "turn.users[", "turn[0]", "nix", "turn.users.name",
					      "turn.users[0].name.x", "turn.users[99999999999999999999]" };
	for (size_t i = 0; i < ARRAY_LEN(absent); i++)
		assert_false(cfg_where(c, absent[i], &file, &line));
}

static void a_services_own_error_stands_at_the_nearest_place(void **state)
{
	(void)state;
	_cleanup_(cfg_freep) struct cfg *c = load(TEXT("turn:\n" ALLOW "  users:\n  - name: a\n  - {name: b}\n"), 0);
	cfg_add_error(c, "turn.users[1].password", "'%s' has no password", "b");
	cfg_add_error(c, "turn.users[0].name", "name %d", 1);
	cfg_add_error(c, "turn.realm", "needs a realm");
	cfg_add_error(c, "console.listen", "somewhere");
	assert_string_equal(errors_of(c), "f: somewhere\n"
					  "f:1:1: needs a realm\n"
					  "f:4:11: name 1\n"
					  "f:5:5: 'b' has no password\n");
}

static void one_value_is_checked_as_in_a_file(void **state)
{
	char err[300] = "";
	(void)state;
	assert_int_equal(cfg_check_value(&turn_rows[6], TEXT("65"), err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "'workers' must be 0..64 threads, not '65'");
	assert_int_equal(cfg_check_value(&turn_rows[6], TEXT("64"), err, sizeof(err)), 0);
	assert_int_equal(cfg_check_value(&turn_rows[0], TEXT("owned and freed"), err, sizeof(err)), 0);
	assert_int_equal(cfg_check_value(&turn_rows[0], TEXT("a\0b"), err, sizeof(err)), -EINVAL);
	assert_int_equal(cfg_check_value(&turn_rows[9], TEXT("x"), err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "'relay' is a map, not one value");
}

/* ---- the schema itself ---- */

static void a_good_schema_passes_its_selftest(void **state)
{
	char err[300] = "";
	(void)state;
	assert_int_equal(cfg_schema_selftest(&all_schema, err, sizeof(err)), 0);
	assert_string_equal(err, "");
}

static void each_fault_in_a_schema_row_is_found(void **state)
{
	static const char *const no_choices[] = { NULL };
	static const struct {
		struct cfg_row row;
		const char *error;
	} cases[] = {
		{ { .name = "Bad", .type = &cfg_bool, .help = "h" }, "lower-case" },
		{ { .name = "a", .help = "h" }, "either a type or a sub-schema" },
		{ { .name = "a", .type = &cfg_bool, .sub = &lan_schema, .help = "h" }, "either a type or a sub-schema" },
		{ { .name = "a", .type = &cfg_bool, .flags = CFG_OPTIONAL_MAP, .help = "h" }, "only a map" },
		{ { .name = "a", .type = &cfg_string, .flags = CFG_SECRET, .def = "x", .help = "h" }, "a secret" },
		{ { .name = "a", .type = &cfg_string, .flags = CFG_REQUIRED, .def = "x", .help = "h" }, "required and has a default" },
		{ { .name = "a", .type = &cfg_enum, .choices = no_choices, .def = "x", .help = "h" }, "no choices" },
		{ { .name = "a", .type = &cfg_enum, .choices = modes, .help = "h" }, "needs a default" },
		{ { .name = "a", .type = &cfg_enum, .choices = modes, .def = "of", .help = "h" }, "did you mean 'off'?" },
		{ { .name = "a", .type = &cfg_u64, .min = 3, .max = 2, .help = "h" }, "min is above max" },
		{ { .name = "a", .type = &cfg_u64 }, "help" },
		{ { .name = "a", .type = &cfg_u64, .offset = 60, .help = "h" }, "beyond its struct" },
		{ { .name = "a", .type = &cfg_u64, .min = 5, .def = "4", .help = "h" }, "'a' must be at least 5, not '4'" },
		{ { .name = "a", .type = &cfg_u64, .flags = CFG_LIST, .def = "1, x", .help = "h" }, "must be a whole number, not 'x'" },
		{ { .name = "last", .type = &cfg_bool, .help = "h" }, "there twice" },
		{ { .name = "a", .type = &cfg_bool, .offset = 56, .help = "h" }, "same bytes as last" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct cfg_row rows[] = { { .name = "last", .type = &cfg_bool, .offset = 56, .help = "h" }, cases[i].row };
		const struct cfg_schema s = { "s", rows, 2, 64 };
		char err[300] = "";
		assert_int_equal(cfg_schema_selftest(&s, err, sizeof(err)), -EINVAL);
		if (!strstr(err, cases[i].error))
			fail_msg("case %zu: %s", i, err);
	}
}

static void the_reference_page_comes_from_the_rows(void **state)
{
	char *page = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&page, &n);
	(void)state;
	assert_non_null(f);
	assert_int_equal(cfg_reference_markdown(&turn_schema, f), 0);
	fclose(f);
	static const char *const parts[] = {
		"### turn\n\n| key | type | default |",
		"| `realm` | text | `stile` |  |  |  | Realm. |\n",
		"| `password`, `password_file` | text |  |  |  |  | Password. |\n",
		"| `users` | list of maps, see [turn.users](#turnusers) |  |  |  | yes | Users. |\n",
		"| `listen` | list of ",
		"| `udp:0.0.0.0:3478, tcp:[::]:3478` | at most 3 items |  |  | Where. |\n",
		"| `allow` | list of prefix | required |",
		"| `workers` | number |  | 0–64 | threads |  | Threads. |\n",
		"### turn.users\n",
		"| `mode` | choice: `off`, `listed`, `open` | `listed` |  |  |  | With a \\| and &lt;tag>. |\n",
		"| `idle` | duration | `90s` | 1s–1h |  |  | When to end. |\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (!strstr(page, parts[i]))
			fail_msg("missing: %s\nin: %s", parts[i], page);
	free(page);
}

static const char *changes(struct text then, struct text now)
{
	struct cfg *a = load(then, 0), *b = load(now, 0);
	char *was = cfg_fixed_values(a), *is = cfg_fixed_values(b);

	assert_non_null(was);
	assert_non_null(is);
	assert_null(strstr(is, "hidden"));
	cfg_fixed_changes(was, is, printed, sizeof(printed));
	free(was);
	free(is);
	cfg_free(a);
	cfg_free(b);
	return printed;
}

static void changed_keys_that_a_reload_does_not_apply_are_named(void **state)
{
	const struct text plain = TEXT("turn: { allow: [10.0.0.0/8] }");

	(void)state;
	assert_string_equal(changes(plain, plain), "");
	assert_string_equal(changes(plain, TEXT("turn: { allow: [10.0.0.0/8], realm: stile }")), ""); /* the default, written */
	assert_string_equal(changes(plain, TEXT("turn: { allow: [10.0.0.0/8, 10.1.0.0/16], realm: x, workers: 3 }")),
			    "turn.realm, turn.allow, turn.workers");
	assert_string_equal(changes(plain, TEXT("turn: { allow: [10.0.0.0/8], relay: { ports: 2000-3000, mode: open } }")),
			    "turn.relay.mode"); /* the ports are reloadable */
	assert_string_equal(changes(plain, TEXT("turn: { allow: [10.0.0.0/8], password: hidden, lan: {} }\nstun_servers: [a.example]")),
			    "turn.password, turn.lan.bind, turn.lan.idle, stun_servers"); /* of a secret there is a hash */
	assert_string_equal(changes(plain, TEXT("turn: { allow: [10.0.0.0/8], users: [ { name: a } ] }")), "");
	cfg_fixed_changes("a=1\nb=2\n", "a=2\nb=3\n", printed, 3); /* no room for both: cut, not overrun */
	assert_string_equal(printed, "a,");
}

int main(void)
{
#define IN_FOLDER(t) cmocka_unit_test_setup_teardown(t, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_value_reaches_its_field),
		cmocka_unit_test(absent_keys_get_their_defaults_through_the_same_rules),
		cmocka_unit_test(an_empty_list_or_map_stays_empty_and_does_not_fall_back),
		cmocka_unit_test(an_empty_file_is_all_defaults),
		cmocka_unit_test(a_byte_order_mark_and_windows_line_ends_do_no_harm),
		cmocka_unit_test(all_errors_are_shown_in_the_order_of_the_file),
		cmocka_unit_test(unknown_keys_name_what_was_probably_meant),
		cmocka_unit_test(a_value_of_the_wrong_kind_is_told_what_was_expected),
		cmocka_unit_test(a_list_that_has_more_items_than_it_may_is_refused_and_not_cut),
		cmocka_unit_test(a_key_without_a_value_is_an_error_and_never_an_empty_password),
		cmocka_unit_test(duplicate_keys_name_both_places),
		cmocka_unit_test(anchors_aliases_tags_and_merge_keys_are_refused),
		cmocka_unit_test(what_is_no_yaml_stops_its_file_with_the_place),
		cmocka_unit_test(bytes_that_are_no_text_are_refused_with_their_place),
		cmocka_unit_test(quoted_control_bytes_never_reach_the_terminal),
		cmocka_unit_test(depth_keys_nodes_and_size_are_bounded),
		cmocka_unit_test(only_so_many_errors_are_kept_but_all_are_counted),
		IN_FOLDER(a_missing_file_is_one_error_about_the_file),
		IN_FOLDER(conf_d_merges_maps_by_key_and_appends_lists_in_name_order),
		IN_FOLDER(a_scalar_set_in_two_files_names_both),
		IN_FOLDER(relative_paths_start_at_the_folder_of_the_file_that_names_them),
		IN_FOLDER(a_secret_may_come_from_a_file_without_its_last_newline),
		IN_FOLDER(a_bad_secret_file_is_an_error_that_does_not_show_the_secret),
		IN_FOLDER(a_secret_that_everyone_can_read_is_a_warning_once_per_file),
		IN_FOLDER(a_secret_may_be_a_systemd_credential),
		cmocka_unit_test(a_secret_never_appears_in_an_error),
		cmocka_unit_test(a_place_is_found_by_its_path),
		cmocka_unit_test(a_services_own_error_stands_at_the_nearest_place),
		cmocka_unit_test(one_value_is_checked_as_in_a_file),
		cmocka_unit_test(a_good_schema_passes_its_selftest),
		cmocka_unit_test(each_fault_in_a_schema_row_is_found),
		cmocka_unit_test(the_reference_page_comes_from_the_rows),
		cmocka_unit_test(changed_keys_that_a_reload_does_not_apply_are_named),
	};
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
