/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs that every service has: its status, reload, stop, log level. What changes something
 * is logged with who asked for it. Figures that the system does not tell (no /proc) are -1, so that
 * status still answers.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/log_msgs.h"
#include "common/service_priv.h"

static json_int_t resident_bytes(void)
{
	unsigned long long resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return -1;
	if (fscanf(f, "%*u %llu", &resident) != 1)
		resident = 0;
	fclose(f);
	return (json_int_t)resident * sysconf(_SC_PAGESIZE);
}

static json_int_t descriptor_limit(void);

int64_t service_descriptors(void)
{
	int64_t n = -3; /* ".", ".." and the folder itself */
	DIR *d = opendir("/proc/self/fd");

	if (!d) /* without one left they are all in use, which is when it matters */
		return errno == EMFILE ? descriptor_limit() : -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static json_int_t descriptor_limit(void)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) < 0 ? -1 : (json_int_t)l.rlim_cur;
}

/* Milliseconds until what still runs is cut off; -1: never, or nothing drains. */
static json_int_t drain_left(const struct service *s)
{
	uint64_t now = loop_now(s->loop);

	return !s->draining || s->drain_until == UINT64_MAX ? -1 : (json_int_t)(s->drain_until - MIN(s->drain_until, now));
}

/* With what it was made, as a report of a fault should say. */
#define TEXT_OF(x) #x
#define NUMBER(x) TEXT_OF(x)
#ifdef __clang__
#define COMPILER "clang " NUMBER(__clang_major__) "." NUMBER(__clang_minor__) "." NUMBER(__clang_patchlevel__)
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifdef __OPTIMIZE__
#define OPTIMISED ", optimised"
#else
#define OPTIMISED ", not optimised"
#endif
#if defined(_FORTIFY_SOURCE) && _FORTIFY_SOURCE > 0
#define FORTIFIED ", fortified"
#else
#define FORTIFIED ""
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED ", with AddressSanitizer"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED ", with AddressSanitizer"
#endif
#endif
#ifndef SANITIZED
#define SANITIZED ""
#endif

static const char build[] = COMPILER OPTIMISED FORTIFIED SANITIZED;

static void on_status(struct control_request *rq, const json_t *args, void *arg)
{
	const struct service *s = arg;

	(void)args;
	control_reply(
		rq, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:s}",
			      "program", s->ops->program, "instance", s->instance.name, "version",
			      STILE_VERSION, "build", build, "pid", (int)getpid(), "state",
			      s->draining ? "draining" : "running", "drain_left_ms", drain_left(s),
			      "started_at", (json_int_t)s->started_at, "uptime_ms",
			      (json_int_t)(clock_steady_ms() - s->started), "config", s->config_path,
			      "reloaded_at", (json_int_t)s->reloaded_at, "reload_error",
			      s->reload_error, "restart_needed", s->restart_needed, "log_level",
			      log_level_name(log_get_level()), "memory", resident_bytes(),
			      "descriptors", (json_int_t)service_descriptors(), "descriptors_limit",
			      descriptor_limit(), "sandbox", service_sandbox_text(s)));
}

static void reply_changes(struct control_request *rq, const struct service *s, const struct service_changes *ch,
			  bool dry_run)
{
	control_reply(rq, json_pack("{s:b, s:I, s:s, s:O, s:I}", "dry_run", dry_run, "reloaded_at",
				    (json_int_t)s->reloaded_at, "restart_needed", s->restart_needed, "changes", ch->rows,
				    "more", (json_int_t)ch->more));
}

static void on_reload(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	const json_t *wanted = json_object_get(args, "dry_run");
	struct service_changes changes = { 0 };
	char err[sizeof(s->reload_error)];
	bool dry_run = json_is_true(wanted);

	if (json_object_size(args) > (wanted ? 1 : 0) || (wanted && !json_is_boolean(wanted))) {
		control_fail(rq, "bad-request", "{\"dry_run\":true}", "\"dry_run\" is all there is, true or false");
		return;
	}
	if (!dry_run)
		log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "service.reload"), LF_STR("who", control_request_who(rq)));
	if (dry_run && service_reload_preview(s, &changes, err, sizeof(err)) < 0)
		control_fail(rq, "failed", "correct it before you reload; nothing was changed", "%s", err);
	else if (!dry_run && service_reload(s, &changes) < 0)
		control_fail(rq, "failed", "correct it and reload again; the old configuration is at work",
			     "%s", s->reload_error);
	else
		reply_changes(rq, s, &changes, dry_run);
	service_changes_deinit(&changes);
}

static void on_stop(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;

	(void)args;
	log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "service.stop"), LF_STR("who", control_request_who(rq)));
	control_reply(rq, json_pack("{s:b}", "stopping", 1));
	service_stop(s);
}

static void on_drain(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	const json_t *limit = json_object_get(args, "deadline_ms");

	if (json_object_size(args) > (limit ? 1 : 0) || (limit && (!json_is_integer(limit) || json_integer_value(limit) < 0))) {
		control_fail(rq, "bad-request", "{\"deadline_ms\":600000}", "\"deadline_ms\" is all there is, milliseconds");
		return;
	}
	if (s->stopping) {
		control_fail(rq, "failed", NULL, "the service stops already");
		return;
	}
	log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "service.drain"), LF_STR("who", control_request_who(rq)));
	service_drain(s, limit ? (uint64_t)json_integer_value(limit) : UINT64_MAX);
	control_reply(rq, json_pack("{s:b, s:I}", "draining", 1, "drain_left_ms", drain_left(s)));
}

static void on_log_level(struct control_request *rq, const json_t *args, void *arg)
{
	const json_t *wanted = json_object_get(args, "level");
	enum log_level level;

	(void)arg;
	if (json_object_size(args) > (wanted ? 1 : 0) || (wanted && !json_is_string(wanted))) {
		control_fail(rq, "bad-request", "{\"level\":\"debug\"}", "\"level\" is all there is, a string");
		return;
	}
	if (wanted && control_request_role(rq) < CONTROL_OPERATOR) {
		control_fail(rq, "forbidden", NULL, "setting the log level needs the role operator");
		return;
	}
	if (wanted) {
		if (log_level_parse(text_of(json_string_value(wanted)), &level) < 0) {
			control_fail(rq, "bad-request", NULL, "a log level is error, warn, info, debug or trace");
			return;
		}
		log_set_level(level);
		log_emit(&MSG_SERVICE_LOG_LEVEL, LF_STR("level", log_level_name(level)),
			 LF_STR("who", control_request_who(rq)));
	}
	control_reply(rq, json_pack("{s:s}", "level", log_level_name(log_get_level())));
}

static const struct control_verb verbs[] = {
	{ "service.status", CONTROL_VIEWER, on_status, "Version, uptime, last reload, memory, descriptors." },
	{ "service.health", CONTROL_VIEWER, service_on_health, "What needs attention: certificates, disks, limits, what fails; errors first." },
	{ "service.reload", CONTROL_OPERATOR, on_reload, "Reads the configuration anew, as SIGHUP does, and "
	  "tells what changed; with \"dry_run\" it only tells." },
	{ "service.stop", CONTROL_ADMIN, on_stop, "Stops the service, as SIGTERM does." },
	{ "service.drain", CONTROL_ADMIN, on_drain, "Takes nothing new on; stops when nothing is left, or after \"deadline_ms\"." },
	{ "service.objects", CONTROL_OPERATOR, service_on_objects, "What the store holds: its kinds and their places in a "
	  "file, or with \"kind\" a page of objects behind \"after\"; secrets masked unless \"secrets\". Of \"all\" kinds: also what the service has "
	  "learnt." },
	{ "log.level", CONTROL_VIEWER, on_log_level,
	  "The log level; an operator sets it with \"level\" until the next reload." },
};

int service_add_verbs(struct service *s)
{
	int r = control_add_verbs(s->control, verbs, ARRAY_LEN(verbs), s);

	return r < 0 ? r : service_add_edit_verbs(s);
}
