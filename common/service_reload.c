/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP and service.reload: the log is reopened in any case, then the configuration is read anew.
 *
 * A configuration with errors changes nothing: the old one stays at work, all errors go to the log,
 * the first is kept for status. The service takes the new one as a whole or refuses it; only then
 * do log settings follow and the old configuration goes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/log_msgs.h"
#include "common/service_priv.h"

enum { ERRORS_LOGGED = 20 };

static int64_t unix_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void remember(struct service *s, const struct cfg *c)
{
	size_t n = c ? cfg_n_errors(c) : 0;
	char place[320];

	for (size_t i = 0; i < MIN(n, ERRORS_LOGGED); i++) {
		const struct cfg_error *e = cfg_error(c, i);
		snprintf(place, sizeof(place), "%s:%u:%u", e->file, e->line, e->column);
		log_emit(&MSG_SERVICE_BAD_CONFIG, LF_STR("place", place), LF_STR("error", e->text));
		if (i == 0)
			snprintf(s->reload_error, sizeof(s->reload_error), "%.150s: %.300s%s", place, e->text,
				 n > 1 ? " (and more, see the log)" : "");
	}
	if (n == 0)
		snprintf(s->reload_error, sizeof(s->reload_error), "%s", strerror(ENOMEM));
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

static int take(struct service *s, struct cfg **c)
{
	struct log_config lc;
	char err[400] = "";
	int r;

	r = service_load(s->ops, s->user, s->config_path, c);
	if (r < 0) {
		remember(s, *c);
		return r;
	}
	r = s->ops->reload ? s->ops->reload(s, *c, err, sizeof(err)) : 0;
	if (r < 0) {
		snprintf(s->reload_error, sizeof(s->reload_error), "%s", err);
		return r;
	}
	cfg_free(s->cfg);
	s->cfg = steal_ptr(c);
	lc = service_log_config(s->ops, s->instance.full, s->cfg);
	if (log_open(&lc, err, sizeof(err)) < 0) /* it was writable when it was checked */
		log_emit(&MSG_SERVICE_LOG_REOPEN_FAILED, LF_STR("reason", err));
	log_warnings(s->cfg);
	note_restart(s);
	return 0;
}

int service_reload(struct service *s)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	char state[64], err[256] = "";
	struct timespec now;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	ready_notify(state);
	if (log_reopen(err, sizeof(err)) < 0)
		log_emit(&MSG_SERVICE_LOG_REOPEN_FAILED, LF_STR("reason", err));
	s->reload_error[0] = 0;
	r = take(s, &c);
	if (r < 0) {
		log_emit(&MSG_SERVICE_RELOAD_FAILED, LF_STR("reason", s->reload_error));
		ready_notify("READY=1\nSTATUS=the last reload failed; the old configuration is at work");
		return r;
	}
	s->reloaded_at = unix_ms();
	log_emit(&MSG_SERVICE_RELOADED, LF_STR("config", s->config_path));
	ready_notify("READY=1\nSTATUS=running");
	return 0;
}
