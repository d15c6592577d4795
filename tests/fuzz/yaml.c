/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a configuration text against a schema that uses every type, lists, maps, optional maps
 * and secrets.
 *
 * What is accepted is printed by the types' own print functions as YAML and must load again to the
 * same. What is refused has errors that stand inside the text and are safe to show. Texts that name a
 * file of a secret are left out: what lies on this machine's disk is no input.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "common/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const protos[] = { "udp", "tcp", "tls", NULL };
struct item {
	char *name, *secret;
	struct cfg_list peers;
};
struct sub {
	uint64_t u64, count, duration, size, rate;
	bool on;
	unsigned choice;
	struct cfg_port_range ports;
};
struct all {
	struct sub sub;
	struct sub *optional;
	struct cfg_list items, ends, backends, hosts, names, ips;
	char *text, *path, *secret;
	struct addr at, ip;
	struct prefix prefix;
};

/* clang-format off */
#define ROW(type_, member_, cfg_type_, ...) { .name = #member_, .type = &cfg_type_, CFG_AT(struct type_, member_), __VA_ARGS__ }
static const struct cfg_row item_rows[] = {
	ROW(item, name, cfg_string, .flags = CFG_REQUIRED, .min = 1, .max = 20),
	ROW(item, secret, cfg_string, .flags = CFG_SECRET),
	ROW(item, peers, cfg_prefix, .flags = CFG_LIST, .def = "10.0.0.0/8, ::/0"),
};
static const struct cfg_schema item_schema = { "items", item_rows, ARRAY_LEN(item_rows), sizeof(struct item) };
static const struct cfg_row sub_rows[] = {
	ROW(sub, u64, cfg_u64, .max = 100, .def = "1"),
	ROW(sub, count, cfg_count, .min = 1, .def = "unlimited"),
	ROW(sub, duration, cfg_duration, .min = 10, .def = "5m"),
	ROW(sub, size, cfg_size, .def = "10MB"),
	ROW(sub, rate, cfg_bitrate, .def = "unlimited"),
	ROW(sub, on, cfg_bool, .def = "yes"),
	ROW(sub, choice, cfg_enum, .choices = protos, .def = "tcp"),
	ROW(sub, ports, cfg_ports, .def = "1-2"),
};
static const struct cfg_schema sub_schema = { "sub", sub_rows, ARRAY_LEN(sub_rows), sizeof(struct sub) };
static const struct cfg_row all_rows[] = {
	{ .name = "sub", .sub = &sub_schema, CFG_AT(struct all, sub) },
	{ .name = "optional", .sub = &sub_schema, CFG_AT(struct all, optional), .flags = CFG_OPTIONAL_MAP },
	{ .name = "items", .sub = &item_schema, CFG_AT(struct all, items), .flags = CFG_LIST },
	ROW(all, ends, cfg_endpoint, .flags = CFG_LIST | CFG_UNIX, .choices = protos, .def = "udp:0.0.0.0:1"),
	ROW(all, backends, cfg_backend, .flags = CFG_LIST, .choices = protos),
	ROW(all, hosts, cfg_hostport, .flags = CFG_LIST, .default_port = 3478),
	ROW(all, names, cfg_string, .flags = CFG_LIST),
	ROW(all, ips, cfg_ip, .flags = CFG_LIST),
	ROW(all, text, cfg_string, .max = 40),
	ROW(all, path, cfg_path),
	ROW(all, secret, cfg_string, .flags = CFG_SECRET, .min = 2),
	ROW(all, at, cfg_addr, .default_port = 7, .def = "127.0.0.1"),
	ROW(all, ip, cfg_ip, .def = "::1"),
	ROW(all, prefix, cfg_prefix, .def = "10.0.0.0/8"),
};
static const struct cfg_schema all_schema = { "", all_rows, ARRAY_LEN(all_rows), sizeof(struct all) };
/* clang-format on */
static const char *const others[] = { "log", NULL };
static const struct cfg_root root = { &all_schema, others };

/* ---- values → YAML, all in flow style with quoted texts ---- */

static void dump_map(FILE *f, const struct cfg_schema *s, const void *values);

static void dump_value(FILE *f, const struct cfg_row *row, const void *src)
{
	char buf[70000];
	struct sb b = sb_init(buf, sizeof(buf));
	if (row->sub) {
		dump_map(f, row->sub, src);
		return;
	}
	row->type->print(row, src, &b);
	fputc('"', f);
	for (const char *p = buf; *p; p++)
		fprintf(f, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	fputc('"', f);
}

static bool is_absent(const struct cfg_row *row, const void *src)
{
	bool pointer = (row->flags & CFG_OPTIONAL_MAP) || row->type == &cfg_string || row->type == &cfg_path;
	return !(row->flags & CFG_LIST) && pointer && !*(void *const *)src;
}

static void dump_map(FILE *f, const struct cfg_schema *s, const void *values)
{
	fputc('{', f);
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct cfg_row *row = &s->rows[i];
		const void *src = (const char *)values + row->offset;
		if (is_absent(row, src))
			continue;
		fprintf(f, "%s: ", row->name);
		if (row->flags & CFG_LIST) {
			const struct cfg_list *l = src;
			size_t size = row->sub ? row->sub->size : row->type->size;
			fputc('[', f);
			for (size_t k = 0; k < l->n; k++) {
				dump_value(f, row, (const char *)l->items + k * size);
				fputs(", ", f);
			}
			fputc(']', f);
		} else {
			dump_value(f, row, row->flags & CFG_OPTIONAL_MAP ? *(void *const *)src : src);
		}
		fputs(",\n", f);
	}
	fputc('}', f);
}

static char *dump(const struct cfg *c, size_t *ret_n)
{
	char *p = NULL;
	FILE *f = open_memstream(&p, ret_n);
	assert(f);
	dump_map(f, &all_schema, cfg_values(c));
	assert(fclose(f) == 0);
	return p;
}

/* ---- checks ---- */

static void check_again(const struct cfg *c)
{
	struct cfg *again = NULL;
	size_t n = 0, n2 = 0;
	char *yaml = dump(c, &n), *yaml2;
	if (n <= 4 << 20) { /* quoting may have made it too large to be read */
		int r = cfg_load_text((struct text){ yaml, n }, "again", &root, &again);
		if (r < 0)
			cfg_print_errors(again, stderr);
		assert(r == 0);
		yaml2 = dump(again, &n2);
		assert(n == n2 && memcmp(yaml, yaml2, n) == 0);
		free(yaml2);
		cfg_free(again);
	}
	free(yaml);
}

static void check_errors(const struct cfg *c, size_t size)
{
	assert(cfg_n_errors(c) > 0);
	for (size_t i = 0; i < cfg_n_errors(c); i++) {
		const struct cfg_error *e = cfg_error(c, i), *before = i ? cfg_error(c, i - 1) : e;
		assert(e->text[0] && text_is_utf8(text_of(e->text)));
		for (const char *p = e->text; *p; p++)
			assert((unsigned char)*p >= 0x20 && *p != 0x7f);
		assert(e->line <= size + 1 && e->column <= size + 1 && before->line <= e->line);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "sub", "items[1].name", "ends[0]", "optional.u64", "items[0].peers[0]", "secret" };
	if (memmem(data, size, "_file", 5))
		return 0;
	char *copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	struct cfg *c = NULL;
	int r = cfg_load_text((struct text){ copy, size }, "fuzz", &root, &c);
	assert(c);
	free(copy); /* the tree has copies of its own */
	if (r == 0)
		check_again(c);
	else
		check_errors(c, size);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const char *file;
		unsigned line;
		if (cfg_where(c, paths[i], &file, &line))
			assert(line >= 1 && line <= size + 1);
		cfg_add_error(c, paths[i], "checked %zu", i);
	}
	cfg_free(c);
	return 0;
}
