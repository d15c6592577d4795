/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb service.health: what every service has to say for itself (files, limits, its log and store), then what
 * this one knows. Certificates, and those of CAs, are found in the configuration by their key, wherever it stands, so that a
 * section which gets one is looked after without a line here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/health.h"
#include "common/monitor.h"
#include "common/service_priv.h"

enum { FULL_PERCENT = 80, KEY = 192, CERTIFICATES_MAX = 1000 };

struct service_health {
	struct health_certs certs;
	json_t *files; /* key in the configuration → path of a certificate */
	struct loop *loop;
	struct timer tick;
	struct health_late late;
};

static void on_tick(struct timer *t, uint64_t now)
{
	struct service_health *h = container_of(t, struct service_health, tick);

	health_late_tick(&h->late, now);
	loop_timer_set(h->loop, t, HEALTH_TICK_MS);
}

/* ---- what is looked after ---- */

static bool is_certificate(const char *key)
{
	return strcmp(key, "certificate") == 0 || strcmp(key, "ca") == 0 || strcmp(key, "client_ca") == 0;
}

static void find_certificates(json_t *files, const char *at, const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;
	char path[KEY];

	if (json_object_size(files) >= CERTIFICATES_MAX)
		return;
	if (json_is_object(j)) {
		json_object_foreach((json_t *)j, key, v) {
			(void)snprintf(path, sizeof(path), "%s%s%s", at, *at ? "." : "", key);
			if (json_is_string(v) && is_certificate(key))
				json_object_set(files, path, v);
			else
				find_certificates(files, path, v);
		}
	}
	json_array_foreach(j, i, v) {
		(void)snprintf(path, sizeof(path), "%s[%zu]", at, i);
		if (json_is_object(v))
			find_certificates(files, path, v);
	}
}

/* At the start, before privileges go, and after each reload. Without memory the old list stays. */
void service_health_look(struct service *s)
{
	struct health none = { .certs = &s->health->certs, .now_ms = clock_unix_ms() };
	json_t *all = NULL, *files = json_object(), *v;
	const char *key;

	if (!files || cfg_export(s->cfg, false, &all) < 0) {
		json_decref(files);
		return;
	}
	find_certificates(files, "", all);
	json_decref(all);
	json_decref(s->health->files);
	s->health->files = files;
	health_certs_loaded(&s->health->certs);
	none.items = json_array();
	json_object_foreach(files, key, v)
		health_certificate(&none, key, json_string_value(v));
	json_decref(none.items);
}

int service_health_new(struct service *s)
{
	s->health = calloc(1, sizeof(*s->health));
	if (!s->health)
		return -ENOMEM;
	s->health->loop = s->loop;
	s->health->tick.fire = on_tick;
	loop_timer_set(s->loop, &s->health->tick, HEALTH_TICK_MS);
	return 0;
}

void service_health_free(struct service *s)
{
	if (!s->health)
		return;
	timer_stop(&s->health->tick);
	health_certs_deinit(&s->health->certs);
	json_decref(s->health->files);
	free(s->health);
	s->health = NULL;
}

/* ---- what every service says ---- */

static void say_configuration(const struct service *s, struct health *h)
{
	if (s->reload_error[0]) {
		health_add(h, HEALTH_RELOAD_FAILED, HEALTH_ERROR, s->config_path, "the last reload failed, the old configuration is at work: %s",
			   s->reload_error);
		health_arg_str(h, "why", s->reload_error);
	}
	if (s->restart_needed[0]) {
		health_add(h, HEALTH_RESTART_NEEDED, HEALTH_WARNING, s->config_path, "changed in the file, but needs a restart: %s",
			   s->restart_needed);
		health_arg_str(h, "keys", s->restart_needed);
	}
}

static void say_descriptors(struct health *h)
{
	struct rlimit l;
	int64_t used = service_descriptors();

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == RLIM_INFINITY || used * 100 < (int64_t)l.rlim_cur * FULL_PERCENT)
		return;
	health_add(h, HEALTH_DESCRIPTORS, used * 100 >= (int64_t)l.rlim_cur * 95 ? HEALTH_ERROR : HEALTH_WARNING, "",
		   "%lld of %llu file descriptors are in use", (long long)used, (unsigned long long)l.rlim_cur);
	health_arg_i64(h, "used", used);
	health_arg_i64(h, "limit", (int64_t)l.rlim_cur);
}

static void say_load(const struct service *s, struct health *h)
{
	uint64_t used, limit;

	monitor_memory(&used, &limit);
	health_memory(h, used, limit);
	health_loop(h, health_late_ms(&s->health->late, loop_now(s->loop)));
}

static void say_files(const struct service *s, struct health *h)
{
	struct log_config lc = service_log_config(s->ops, s->instance.full, s->cfg);
	const char *store = s->ops->store_path ? s->ops->store_path(cfg_values(s->cfg)) : NULL, *key;
	json_t *path;

	json_object_foreach(s->health->files, key, path)
		health_certificate(h, key, json_string_value(path));
	if (lc.dir && *lc.dir)
		health_folder(h, "log", lc.dir);
	if (store)
		health_folder(h, "store", store);
	if (log_is_failing())
		health_add(h, HEALTH_LOG_FAILING, HEALTH_ERROR, lc.dir ? lc.dir : "", "the log cannot be written, lines are lost: %s",
			   lc.dir ? lc.dir : "");
	if (s->store && store_is_failing(s->store))
		health_add(h, HEALTH_STORE_FAILING, HEALTH_ERROR, store ? store : "", "the store cannot be written, changes are refused: %s",
			   store ? store : "");
}

json_t *service_health(struct service *s)
{
	struct health h = { .items = json_array(), .certs = &s->health->certs, .now_ms = clock_unix_ms() };
	json_t *j;

	say_configuration(s, &h);
	say_files(s, &h);
	say_descriptors(&h);
	say_load(s, &h);
	if (s->ops->health)
		s->ops->health(s, &h);
	j = health_json(&h);
	if (j) {
		json_object_set_new(j, "program", json_string(s->ops->program));
		json_object_set_new(j, "instance", json_string(s->instance.name));
	}
	return j;
}

void service_on_health(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	control_reply(rq, service_health(arg));
}
