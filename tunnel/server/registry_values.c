/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents and codes as objects of the store: their schema rows, and the way to JSON and back. The secret
 * of a code is a CFG_SECRET, so that the audit does not keep it (common/store_secrets.h).
 *
 * An object of the store that cannot be read is an error of that object alone.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/values.h"
#include "tunnel/server/registry.h"

static const char *const states[] = { "pending", "approved", "revoked", NULL };
static const char *const ways[] = { "code", "password", NULL };

struct agent_values {
	char *name, *address, *program, *host, *note, *root, *successor;
	unsigned state, way;
	uint64_t created, seen;
	struct cfg_list ports; /* struct cfg_port_range */
};
struct code_values {
	char *name, *secret;
	uint64_t expires;
	bool replace;
};

/* clang-format off */
static const struct cfg_row agent_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct agent_values, name), .flags = CFG_REQUIRED, .min = 1, .max = REGISTRY_NAME_MAX,
	  .help = "What the agent is called." },
	{ .name = "state", .type = &cfg_enum, CFG_AT(struct agent_values, state), .choices = states, .def = "pending",
	  .help = "Whether it is let in." },
	{ .name = "enrolled_by", .type = &cfg_enum, CFG_AT(struct agent_values, way), .choices = ways, .def = "code",
	  .help = "How it was enrolled." },
	{ .name = "created", .type = &cfg_u64, CFG_AT(struct agent_values, created), .def = "0", .unit = "seconds",
	  .help = "When it was enrolled (Unix time)." },
	{ .name = "last_seen", .type = &cfg_u64, CFG_AT(struct agent_values, seen), .def = "0", .unit = "seconds",
	  .help = "When it was connected last (Unix time), to the hour." },
	{ .name = "address", .type = &cfg_string, CFG_AT(struct agent_values, address), .max = REGISTRY_TEXT_MAX, .help = "Whence it came last." },
	{ .name = "program", .type = &cfg_string, CFG_AT(struct agent_values, program), .max = REGISTRY_TEXT_MAX, .help = "Its program and version." },
	{ .name = "host", .type = &cfg_string, CFG_AT(struct agent_values, host), .max = REGISTRY_TEXT_MAX, .help = "What its machine calls itself." },
	{ .name = "note", .type = &cfg_string, CFG_AT(struct agent_values, note), .max = REGISTRY_TEXT_MAX, .help = "For people." },
	{ .name = "ports", .type = &cfg_ports, CFG_AT(struct agent_values, ports), .flags = CFG_LIST | CFG_BARE, .min = 1, .max = 65535, .most = WIRE_RANGES_MAX,
	  .help = "Ports that it may open. Default: tunnel.ports." },
	{ .name = "root", .type = &cfg_string, CFG_AT(struct agent_values, root), .max = IDENTITY_STRLEN,
	  .help = "The server's root key as the agent knew it last." },
	{ .name = "successor", .type = &cfg_string, CFG_AT(struct agent_values, successor), .max = IDENTITY_STRLEN,
	  .help = "The successor of that root, as the agent was told when it came to know the root." },
};
static const struct cfg_row code_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct code_values, name), .flags = CFG_REQUIRED, .min = 1, .max = REGISTRY_NAME_MAX,
	  .help = "What the agent will be called." },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct code_values, secret), .flags = CFG_REQUIRED | CFG_SECRET, .min = 1, .max = 64,
	  .help = "What the code proves, in hexadecimal." },
	{ .name = "expires", .type = &cfg_u64, CFG_AT(struct code_values, expires), .def = "0", .unit = "seconds", .help = "Until when it is good (Unix time)." },
	{ .name = "replace", .type = &cfg_bool, CFG_AT(struct code_values, replace), .def = "false",
	  .help = "Whether an agent of this name is revoked for it." },
};
#define SCHEMA(of, table, type) { .name = (of), .rows = (table), .n_rows = ARRAY_LEN(table), .size = sizeof(type) }
const struct cfg_schema registry_agent_schema = SCHEMA("agent", agent_rows, struct agent_values);
const struct cfg_schema registry_code_schema = SCHEMA("code", code_rows, struct code_values);

static const struct cfg_row one_agent_rows[] = { { .name = "agent", .sub = &registry_agent_schema, .flags = CFG_REQUIRED, .help = "One agent." } };
static const struct cfg_row one_code_rows[] = { { .name = "code", .sub = &registry_code_schema, .flags = CFG_REQUIRED, .help = "One code." } };
static const struct cfg_schema one_agent = SCHEMA("agent", one_agent_rows, struct agent_values);
static const struct cfg_schema one_code = SCHEMA("code", one_code_rows, struct code_values);
/* clang-format on */
static const struct cfg_root agent_root = { .schema = &one_agent }, code_root = { .schema = &one_code };

static void no_check(struct cfg *c, const char *path)
{
	(void)c;
	(void)path;
}
static const struct values_kind agent_kind = { .name = "agent", .root = &agent_root, .check = no_check };
static const struct values_kind code_kind = { .name = "code", .root = &code_root, .check = no_check };

/* ---- agents ---- */

json_t *entry_json(const struct entry *e)
{
	struct cfg_port_range ports[WIRE_RANGES_MAX];
	char root[IDENTITY_STRLEN] = "", successor[IDENTITY_STRLEN] = "";
	struct agent_values v = { .name = (char *)e->name,
				  .address = (char *)e->address,
				  .program = (char *)e->program,
				  .host = (char *)e->host,
				  .note = (char *)e->note,
				  .root = root,
				  .successor = successor,
				  .state = e->state,
				  .way = e->way,
				  .created = e->created_at,
				  .seen = e->last_seen,
				  .ports = { ports, e->n_ports } };

	if (identity_hash_is_set(&e->root))
		(void)identity_print(&e->root, root);
	if (identity_hash_is_set(&e->successor))
		(void)identity_print(&e->successor, successor);
	for (unsigned i = 0; i < e->n_ports; i++)
		ports[i] = (struct cfg_port_range){ e->ports[i].first, e->ports[i].last };
	return values_json(&registry_agent_schema, &v);
}

static void copy_text(char to[static REGISTRY_TEXT_MAX + 1], const char *from)
{
	struct sb b = sb_init(to, REGISTRY_TEXT_MAX + 1);

	sb_text(&b, text_of(from));
}

static void from_values(const struct agent_values *v, struct entry *e)
{
	const struct cfg_port_range *ports = v->ports.items;

	(void)snprintf(e->name, sizeof(e->name), "%s", v->name);
	copy_text(e->address, v->address);
	copy_text(e->program, v->program);
	copy_text(e->host, v->host);
	copy_text(e->note, v->note);
	e->state = v->state;
	e->way = v->way;
	e->created_at = v->created;
	e->last_seen = e->stored_seen = v->seen;
	(void)identity_parse(text_of(v->root), &e->root);
	(void)identity_parse(text_of(v->successor), &e->successor);
	for (size_t i = 0; i < v->ports.n; i++) /* the row lets no more pass than there are places */
		e->ports[e->n_ports++] = (struct wire_range){ ports[i].first, ports[i].last };
}

int entry_read(const char *key, const json_t *body, char *err, size_t err_n, struct entry *ret_e)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	struct entry e = { .state = ENTRY_PENDING };
	int r;

	if (identity_parse(text_of(key), &e.id) < 0) {
		(void)snprintf(err, err_n, "its key is no fingerprint");
		return -EINVAL;
	}
	(void)identity_print(&e.id, e.key);
	r = values_parse(&agent_kind, body, err, err_n, &c);
	if (r < 0)
		return r;
	from_values(cfg_values(c), &e);
	*ret_e = e;
	return 0;
}

int entry_set_ports(struct entry *e, struct text t, char *err, size_t err_n)
{
	static const struct cfg_row row = { .name = "ports", .type = &cfg_ports, .min = 1, .max = 65535 };
	struct wire_range ports[WIRE_RANGES_MAX];
	uint16_t n = 0;

	t = text_trim(t);
	while (t.p && t.n) {
		struct cfg_port_range range;

		if (n == WIRE_RANGES_MAX) {
			(void)snprintf(err, err_n, "ports: at most %d ranges", WIRE_RANGES_MAX);
			return -EINVAL;
		}
		if (cfg_ports.parse(&row, text_trim(text_cut(&t, ',')), &range, err, err_n) < 0)
			return -EINVAL;
		ports[n++] = (struct wire_range){ range.first, range.last };
	}
	memcpy(e->ports, ports, n * sizeof(*ports));
	e->n_ports = n;
	return 0;
}

/* ---- codes ---- */

json_t *code_json(const struct code *c)
{
	char secret[2 * ENROL_SECRET_LEN + 1];
	struct code_values v = {
		.name = (char *)c->name, .secret = secret, .expires = c->expires, .replace = c->replace
	};
	json_t *j;

	hex_encode(c->secret, ENROL_SECRET_LEN, secret);
	j = values_json(&registry_code_schema, &v);
	bytes_wipe(secret, sizeof(secret));
	return j;
}

int code_read(const char *key, const json_t *body, char *err, size_t err_n, struct code *ret_c)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct code_values *v;
	struct code c = { .expires = 0 };
	size_t n;
	int r = values_parse(&code_kind, body, err, err_n, &cfg);

	if (r < 0)
		return r;
	v = cfg_values(cfg);
	if (hex_decode(text_of(v->secret), c.secret, sizeof(c.secret), &n) < 0 ||
	    n != sizeof(c.secret)) {
		(void)snprintf(err, err_n, "its secret is not one");
		return -EINVAL;
	}
	registry_code_key(c.secret, c.key);
	if (strcmp(c.key, key) != 0) { /* no secret */
		(void)snprintf(err, err_n, "its key is another code's");
		return -EINVAL;
	}
	(void)snprintf(c.name, sizeof(c.name), "%s", v->name);
	c.expires = v->expires;
	c.replace = v->replace;
	*ret_c = c;
	return 0;
}
