/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run's output and its errors are read as one. What it says is one JSON value in the end (`stile netcheck --json` an object), or a
 * result a line as it comes (`stile test --json --follow`); anything else is words for people.
 *
 * A page asks for what is there so far; what came beyond the bound of its size is not kept.
 */
#include "console/runs.h"
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "console/console.h"
#include "console/tool.h"

enum { RUNS_MAX = 8, RUN_OUTPUT = 256 << 10, RUN_WORDS = 4096, RUN_MS = 300000 };

struct run {
	uint64_t id; /* 0: free */
	struct runs *of;
	struct tool tool;
	size_t len;
	char *text; /* RUN_OUTPUT bytes */
};
struct runs {
	struct loop *loop;
	uint64_t last;
	struct run run[RUNS_MAX];
};

int runs_new(struct loop *l, struct runs **ret_r)
{
	struct runs *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = l;
	*ret_r = r;
	return 0;
}

/* ---- the life of a run ---- */

static void on_ready(struct tool *t)
{
	struct run *n = container_of(t, struct run, tool);
	char waste[4096];
	ssize_t got;

	for (;;) {
		bool full = n->len == RUN_OUTPUT; /* what comes beyond is read and dropped */

		got = tool_read(t, full ? waste : n->text + n->len, full ? sizeof(waste) : RUN_OUTPUT - n->len);
		if (got <= 0)
			return;
		n->len += full ? 0 : (size_t)got;
	}
}

static void run_clear(struct run *n)
{
	tool_close(&n->tool);
	free(n->text);
	*n = (struct run){ .of = n->of };
}

struct runs *runs_free(struct runs *r)
{
	for (size_t i = 0; r && i < RUNS_MAX; i++)
		run_clear(&r->run[i]);
	free(r);
	return NULL;
}

static int run_start(struct run *n, const char *const *args)
{
	n->text = malloc(RUN_OUTPUT);
	if (!n->text)
		return -ENOMEM;
	n->tool.on_ready = on_ready;
	return tool_start(&n->tool, n->of->loop, &(struct tool_order){ .args = args, .file = -1, .merged = true, .bound_ms = RUN_MS });
}

/* A free place, or the oldest that has ended; NULL: one is under way. */
static struct run *run_place(struct runs *r)
{
	struct run *oldest = &r->run[0];

	for (size_t i = 0; i < RUNS_MAX; i++) {
		if (r->run[i].tool.pid)
			return NULL;
		if (r->run[i].id < oldest->id)
			oldest = &r->run[i];
	}
	oldest->of = r;
	run_clear(oldest);
	return oldest;
}

/* ---- what can be run ---- */

enum { KIND_WORDS = 3, KIND_FIELDS = 3, RUN_ARGS = 16 };

struct run_field {
	const char *name;   /* in the request's body */
	const char *option; /* what it follows; NULL: it is a word */
	bool required;
};
static const struct run_kind {
	const char *what;
	const char *words[KIND_WORDS]; /* the command */
	struct run_field fields[KIND_FIELDS];
	bool own_file; /* with -c and our own configuration file; else the services are asked for theirs */
	bool of_service; /* "service" names the instance: "turn@lab" */
	bool alone;	 /* it asks no service */
} kinds[] = {
	{ .what = "all", .words = { "test", "--follow" } },
	{ .what = "network", .words = { "netcheck" }, .own_file = true }, /* for its stun_servers */
	{ .what = "tcp", .words = { "test", "tcp" }, .fields = { { "host", NULL, true }, { "port", NULL, true } }, .alone = true },
	{ .what = "agent", .words = { "test", "agent" }, .fields = { { "agent", NULL, true } }, .of_service = true },
	{ .what = "turn", .words = { "test", "turn", "--live" }, .fields = { { "realm", "--realm", false } }, .of_service = true },
	{ .what = "sip-doctor", .words = { "sip", "doctor" }, .fields = { { "domain", NULL, true } }, .of_service = true },
};

static const struct run_kind *kind_of(struct ask *a)
{
	const char *what = ask_string(a, "what");
	char known[256] = "";
	struct sb b = sb_init(known, sizeof(known));

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(what ? what : "all", kinds[i].what) == 0)
			return &kinds[i];
		sb_fmt(&b, "%s%s", i ? ", " : "", kinds[i].what);
	}
	ask_field_error(a, "what", "one of: %s", known);
	return NULL;
}

/* A user's string as one argument: never an option of its own. */
static bool is_word(const char *s)
{
	if (!*s || *s == '-' || strlen(s) > 255)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static bool add_fields(struct ask *a, const struct run_kind *k, const char **args, size_t *n)
{
	const char *service = k->of_service ? ask_string(a, "service") : NULL, *at = service ? strchr(service, '@') : NULL;

	for (size_t i = 0; i < KIND_FIELDS && k->fields[i].name; i++) {
		const struct run_field *f = &k->fields[i];
		const char *s = ask_string(a, f->name);

		if (!s && !f->required)
			continue;
		if (!s || !is_word(s)) {
			ask_field_error(a, f->name, "1 to 255 characters that do not begin with -");
			return false;
		}
		if (f->option)
			args[(*n)++] = f->option;
		args[(*n)++] = s;
	}
	if (at && !is_word(at + 1)) {
		ask_field_error(a, "service", "the name of a service, as GET /services tells it");
		return false;
	}
	if (at) {
		args[(*n)++] = "--instance";
		args[(*n)++] = at + 1;
	}
	return true;
}

/* Borrows the request's strings. False: the request was ended. */
static bool build_args(struct ask *a, const struct run_kind *k, const char *args[RUN_ARGS])
{
	size_t n = 0;

	for (size_t i = 0; i < KIND_WORDS && k->words[i]; i++)
		args[n++] = k->words[i];
	if (!add_fields(a, k, args, &n))
		return false;
	args[n++] = "--json";
	if (!k->alone) {
		args[n++] = "--runtime-dir";
		args[n++] = a->c->svc->instance.runtime_dir;
	}
	if (k->own_file) {
		args[n++] = "-c";
		args[n++] = a->c->svc->config_path;
	}
	args[n] = NULL;
	return true;
}

/* ---- the routes ---- */

void tests_post(struct ask *a)
{
	struct runs *r = a->c->runs;
	const struct run_kind *k = kind_of(a);
	const char *args[RUN_ARGS];
	struct run *n;
	int e;

	if (!k || !build_args(a, k, args))
		return;
	n = run_place(r);
	if (!n) {
		ask_fail(a, 409, "busy", "tests are under way; wait for their end, or end them");
		return;
	}
	n->id = ++r->last;
	e = run_start(n, args);
	if (e < 0) {
		run_clear(n);
		ask_fail(a, 500, "failed", "the tool cannot be started: %s", strerror(-e));
		return;
	}
	ask_reply(a, 202, json_pack("{s:I}", "id", (json_int_t)n->id));
}

static struct run *run_of(struct ask *a)
{
	char *end = NULL;
	unsigned long long id = strtoull(a->params[0], &end, 10);

	for (size_t i = 0; id && *end == '\0' && i < RUNS_MAX; i++)
		if (a->c->runs->run[i].id == id)
			return &a->c->runs->run[i];
	ask_fail(a, 404, "not-found", "there is no such run of the tests, or it is long ago");
	return NULL;
}

/* For people, and of a program: whatever it was, what becomes of it is UTF-8 without control characters. */
static void add_words(struct sb *b, struct text line)
{
	bool utf8 = text_is_utf8(line);

	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		sb_char(b, c < 0x20 || c == 0x7f ? ' ' : c >= 0x80 && !utf8 ? '?' : (char)c);
	}
	sb_char(b, '\n');
}

/* Each line that is an object is a result, as it is, or says which test has begun; what else was said goes into b. */
static void add_lines(const struct run *n, json_t *results, json_t **progress, struct sb *b)
{
	for (const char *p = n->text, *stop = n->text + n->len; p < stop;) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		struct text line = { p, (size_t)((nl ? nl : stop) - p) };
		json_t *row;

		if (!nl && n->tool.pid)
			break; /* not whole yet */
		row = line.n && *p == '{' ? json_loadb(p, line.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
		if (row && json_object_get(row, "begins")) {
			json_decref(*progress);
			*progress = row;
		} else if (row)
			json_array_append_new(results, row);
		else if (line.n && b->n + line.n + 2 < RUN_WORDS)
			add_words(b, line);
		p += line.n + 1;
	}
}

void test_get(struct ask *a)
{
	struct run *n = run_of(a);
	char text[RUN_WORDS] = "";
	struct sb b = sb_init(text, sizeof(text));
	json_t *results, *whole, *progress = json_null();

	if (!n)
		return;
	results = json_array();
	whole = n->tool.pid ? NULL : json_loadb(n->text, n->len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_array(whole))
		json_array_extend(results, whole);
	else if (whole)
		json_array_append(results, whole);
	else
		add_lines(n, results, &progress, &b);
	json_decref(whole);
	ask_reply(a, 200, json_pack("{s:b, s:i, s:b, s:o, s:o, s:s}", "done", n->tool.pid == 0, "status", n->tool.status, "interrupted",
				    n->tool.told, "progress", progress, "results", results, "text", text));
}

void test_delete(struct ask *a)
{
	struct run *n = run_of(a);

	if (!n)
		return;
	tool_end(&n->tool);
	ask_reply(a, 200, json_pack("{s:b}", "done", n->tool.pid == 0));
}

/* ---- what the wizard knows of this machine ---- */

static json_t *addresses_json(void)
{
	struct ifaddrs *list = NULL;
	json_t *rows = json_array();
	char buf[ADDR_STRLEN];
	struct addr at;

	if (getifaddrs(&list) < 0)
		return rows;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || addr_from_sockaddr(i->ifa_addr, sizeof(struct sockaddr_in6), &at) < 0)
			continue;
		enum addr_class class = addr_classify(&at);
		if (class != ADDR_LOOPBACK && class != ADDR_LINK_LOCAL)
			json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "address", addr_print_ip(&at, buf), "interface", i->ifa_name,
							      "public", class == ADDR_GLOBAL));
	}
	freeifaddrs(list);
	return rows;
}

void wizard_get(struct ask *a)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	ask_reply(a, 200, json_pack("{s:s, s:o}", "hostname", host, "addresses", addresses_json()));
}
