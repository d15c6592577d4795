/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service that does nothing but behave as its configuration tells it to: fail at a step of the start,
 * refuse a reload, never be drained, be stuck. stop() makes the file $DEMO_STOPPED, if it is set;
 * $DEMO_HANGUP sends SIGHUP before there is a handler for it; $DEMO_ASKED is made at the stop, when the store has answered ten
 * questions, each of which was asked because of the answer before.
 */
#include "tests/unit/service_demo.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct demo_section {
	uint64_t number;
	bool fail_open, fail_start, never_drained, stuck;
};
struct demo_root {
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct demo_section demo;
};
static const struct cfg_row demo_rows[] = {
	{ .name = "number", .type = &cfg_u64, CFG_AT(struct demo_section, number), .min = 1, .max = 100, .def = "1",
	  .flags = CFG_RELOAD, .help = "A number." },
	{ .name = "fail_open", .type = &cfg_bool, CFG_AT(struct demo_section, fail_open), .def = "false", .help = "Fail." },
	{ .name = "fail_start", .type = &cfg_bool, CFG_AT(struct demo_section, fail_start), .def = "false", .help = "Fail." },
	{ .name = "never_drained", .type = &cfg_bool, CFG_AT(struct demo_section, never_drained), .def = "false", .help = "Wait." },
	{ .name = "stuck", .type = &cfg_bool, CFG_AT(struct demo_section, stuck), .def = "false", .help = "Stick." },
};
static const struct cfg_schema demo_schema = { "demo", demo_rows, ARRAY_LEN(demo_rows), sizeof(struct demo_section) };
static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct demo_root, log), .help = "Log." },
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct demo_root, store), .help = "Store." },
	SERVICE_SANDBOX_ROW(struct demo_root),
	{ .name = "demo", .sub = &demo_schema, CFG_AT(struct demo_root, demo), .help = "Demo." },
};
static const struct cfg_schema root_schema = { "", root_rows, ARRAY_LEN(root_rows), sizeof(struct demo_root) };
static const struct cfg_root demo_cfg = { &root_schema, (const char *const[]){ "turn", NULL } };

static const struct demo_section *demo_of(const struct cfg *c)
{
	return &((const struct demo_root *)cfg_values(c))->demo;
}

static void demo_check(struct cfg *c)
{
	if (getenv("DEMO_HANGUP")) { /* while the configuration is still being read */
		unsetenv("DEMO_HANGUP");
		raise(SIGHUP);
	}
	if (demo_of(c)->number == 13)
		cfg_add_error(c, "demo.number", "13 brings bad luck");
	if (demo_of(c)->never_drained && demo_of(c)->number > 50)
		cfg_add_error(c, "demo.number", "too much for one that is never drained");
}

static void demo_log(const void *values, struct log_config *ret_lc)
{
	const struct demo_root *r = values;

	*ret_lc = (struct log_config){ .level = r->log.level, .dir = r->log.dir, .max_size = r->log.max_size,
				       .keep = (unsigned)r->log.keep, .json = r->log.format };
}

static const char *demo_store(const void *values)
{
	return ((const struct demo_root *)values)->store.path;
}

static int demo_open(struct service *s, char *err, size_t err_n)
{
	s->drain_limit_ms = 300;
	snprintf(err, err_n, "the port is taken");
	return demo_of(s->cfg)->fail_open ? -EADDRINUSE : 0;
}

static int demo_start(struct service *s, char *err, size_t err_n)
{
	snprintf(err, err_n, "no worker wants to work");
	return demo_of(s->cfg)->fail_start ? -EAGAIN : 0;
}

static int demo_reload(struct service *s, struct cfg *c, char *err, size_t err_n)
{
	(void)s;
	snprintf(err, err_n, "77 is refused by the service itself");
	return demo_of(c)->number == 77 ? -EINVAL : 0;
}

static void ask_store(struct service *s);

static void on_answer(const struct store_outcome *o, void *arg)
{
	struct service *s = arg;

	(void)o;
	ask_store(s);
}

static void ask_store(struct service *s)
{
	static unsigned asked;
	struct store_call call = { .loop = s->loop, .done = on_answer, .arg = s };
	FILE *f;

	if (asked++ < 10) {
		(void)store_audit(s->store, &call, 0, 1);
		return;
	}
	f = fopen(getenv("DEMO_ASKED"), "w");
	if (f)
		fclose(f);
}

static bool demo_drain(struct service *s)
{
	if (getenv("DEMO_ASKED"))
		ask_store(s);
	return !demo_of(s->cfg)->never_drained;
}

static void demo_stop(struct service *s)
{
	FILE *f = getenv("DEMO_STOPPED") ? fopen(getenv("DEMO_STOPPED"), "w") : NULL;

	(void)s;
	if (f)
		fclose(f);
}

static bool demo_alive(struct service *s)
{
	return !demo_of(s->cfg)->stuck;
}

const struct service_ops demo_ops = {
	.program = "stile-demo", .summary = "a service for tests", .config = &demo_cfg, .check = demo_check,
	.log_config = demo_log, .store_path = demo_store, .open = demo_open, .start = demo_start,
	.reload = demo_reload, .drain = demo_drain, .stop = demo_stop, .alive = demo_alive,
};
