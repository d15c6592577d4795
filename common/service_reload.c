/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP and service.reload: the log is reopened in any case, then the configuration is read anew.
 *
 * A configuration with errors changes nothing: the old one stays at work, all errors go to the log,
 * the first is kept for status. The same holds for what only shows when it is tried: a certificate that
 * cannot be read, a log that cannot be opened. What changed is logged key by key. A preview does all of
 * this up to the change itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/inherited.h"
#include "common/log_msgs.h"
#include "common/service_priv.h"

enum { ERRORS_LOGGED = 20 };

struct reload_err { /* why it failed; as long as what status keeps */
	char text[sizeof(((struct service *)NULL)->reload_error)];
};

/* The first error for status; all of them for the log, unless somebody only asks. */
static void tell_errors(const struct cfg *c, bool quiet, struct reload_err *err)
{
	size_t n = c ? cfg_n_errors(c) : 0;
	struct sb b = sb_init(err->text, sizeof(err->text));
	char place[sizeof(struct cfg_error)];

	for (size_t i = 0; i < MIN(n, ERRORS_LOGGED); i++) {
		const struct cfg_error *e = cfg_error(c, i);
		if (!e->line && e->column)
			snprintf(place, sizeof(place), "%s: %s", e->file, e->key.s);
		else
			snprintf(place, sizeof(place), "%s:%u:%u", e->file, e->line, e->column);
		if (!quiet)
			log_emit(&MSG_SERVICE_BAD_CONFIG, LF_STR("place", place), LF_STR("error", e->text));
		if (i > 0)
			continue;
		sb_part(&b, text_of(place), 150);
		sb_str(&b, ": ");
		sb_part(&b, text_of(e->text), 300);
		sb_str(&b, n == 1 ? "" : quiet ? " (and more, see stile check)" : " (and more, see the log)");
	}
	if (n == 0)
		sb_str(&b, strerror(ENOMEM));
}

/* What the new file says and this process cannot follow; nobody may take it for applied. */
static void note_restart(struct service *s)
{
	_cleanup_(freep) char *now = cfg_fixed_values(s->cfg);

	if (now && s->fixed)
		cfg_fixed_changes(s->fixed, now, s->restart_needed, sizeof(s->restart_needed));
	if (s->restart_needed[0])
		log_emit(&MSG_SERVICE_RESTART_NEEDED, LF_STR("keys", s->restart_needed));
}

static void log_warnings(const struct cfg *c)
{
	char place[320];

	for (size_t i = 0; i < MIN(cfg_n_warnings(c), ERRORS_LOGGED); i++) {
		const struct cfg_error *w = cfg_warning(c, i);

		snprintf(place, sizeof(place), "%s:%u:%u", w->file, w->line, w->column);
		log_emit(&MSG_SERVICE_CONFIG_WARNING, LF_STR("place", place), LF_STR("warning", w->text));
	}
}

/* It may bind to see whether it can: what it has taken of systemd's it gives back. */
static int examine(struct service *s, const struct cfg *c, struct service_changes *ch, char *err,
		   size_t err_n)
{
	int r;

	inherited_settle(true); /* what was taken between two reloads */
	r = s->ops->examine ? s->ops->examine(s, c, ch, err, err_n) : 0;
	inherited_settle(false);
	return r;
}

/* Reads the file and finds out all that could stand against it. Changes nothing. */
static int prepare(struct service *s, bool quiet, struct cfg **c, struct service_changes *ch, struct reload_err *err)
{
	int r = service_load(s->ops, s->user, s->config_path, s->settings->live, c);

	if (r < 0) {
		tell_errors(*c, quiet, err);
		return r;
	}
	snprintf(err->text, sizeof(err->text), "%s", strerror(ENOMEM));
	r = service_changes_init(ch, s->cfg, *c);
	if (r == 0)
		r = service_sandbox_judge(s, *c, err->text, sizeof(err->text));
	if (r == 0)
		r = examine(s, *c, ch, err->text, sizeof(err->text));
	return r;
}

static int open_log(const struct service *s, const struct cfg *c, struct reload_err *err)
{
	struct log_config lc = service_log_config(s->ops, s->instance.full, c);
	const struct account a = { .uid = geteuid(), .gid = getegid() };
	int r = 0;

	if (lc.dir && *lc.dir)
		r = service_make_dir(lc.dir, LOG_DIR_MODE, &a, err->text, sizeof(err->text));
	return r < 0 ? r : log_open(&lc, err->text, sizeof(err->text));
}

/* The log first, for it can be put back; then the service, which takes all or nothing. */
static int apply(struct service *s, struct cfg **c, struct reload_err *err)
{
	struct reload_err back;
	int r = open_log(s, *c, err);

	if (r < 0)
		return r;
	r = s->ops->reload ? s->ops->reload(s, *c, err->text, sizeof(err->text)) : 0;
	inherited_settle(r == 0);
	if (r < 0) {
		if (open_log(s, s->cfg, &back) < 0)
			log_emit(&MSG_SERVICE_LOG_REOPEN_FAILED, LF_STR("reason", back.text));
		return r;
	}
	cfg_free(s->cfg);
	s->cfg = steal_ptr(c);
	service_health_look(s);
	return 0;
}

int service_reload_preview(struct service *s, struct service_changes *ret_changes, char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	struct reload_err why;
	int r = prepare(s, true, &c, ret_changes, &why);

	if (r < 0)
		snprintf(err, err_n, "%s", why.text);
	return r;
}

int service_examine(struct service *s, const json_t *settings, struct service_changes *ret_changes, struct cfg **ret_cfg,
		    char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	int r = service_load(s->ops, s->user, s->config_path, settings, &c);

	if (r < 0 && c) {
		*ret_cfg = steal_ptr(&c);
		return r;
	}
	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (r == 0)
		r = service_changes_init(ret_changes, s->cfg, c);
	if (r == 0)
		r = service_sandbox_judge(s, c, err, err_n);
	if (r == 0)
		r = examine(s, c, ret_changes, err, err_n);
	if (r == 0)
		*ret_cfg = steal_ptr(&c);
	return r;
}

static void tell_systemd(const char *status)
{
	char state[128];

	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s", status);
	ready_notify(state);
}

int service_reload(struct service *s, struct service_changes *ret_changes)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	char state[64], err[256] = "";
	struct reload_err why;
	int r;

	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_steady_us());
	ready_notify(state);
	if (log_reopen(err, sizeof(err)) < 0)
		log_emit(&MSG_SERVICE_LOG_REOPEN_FAILED, LF_STR("reason", err));
	s->reload_error[0] = 0;
	r = prepare(s, false, &c, ret_changes, &why);
	if (r == 0)
		r = apply(s, &c, &why);
	if (r < 0) {
		snprintf(s->reload_error, sizeof(s->reload_error), "%s", why.text);
		log_emit(&MSG_SERVICE_RELOAD_FAILED, LF_STR("reason", s->reload_error));
		tell_systemd("the last reload failed; the old configuration is at work");
		return r;
	}
	s->reloaded_at = clock_unix_ms();
	service_changes_log(ret_changes);
	log_warnings(s->cfg);
	note_restart(s);
	log_emit(&MSG_SERVICE_RELOADED, LF_STR("config", s->config_path),
		 LF_U64("changes", json_array_size(ret_changes->rows) + ret_changes->more));
	tell_systemd(s->draining ? "draining" : "running");
	return 0;
}
