/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last quarter of an hour in points, and what this machine does: for the charts of the overview. The services' counters are
 * asked for each second while a page looks on, and else every five, by one question for each of them, however many look on.
 *
 * What is counted as "in" and "out" of a service is a row of a table; a service without a row has no chart. Figures of the machine
 * come from /proc and /sys; what cannot be read there is left out.
 */
#include "console/console.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/control_link.h"

enum { POINTS = 900, WATCHED_MS = 1000, ALONE_MS = 5000, WATCHED_FOR_MS = 30 * 1000, ANSWER_MS = 2500, SERVICES = 64, LINE = 512 };

static const struct source {
	const char *program, *verb, *metric, *in, *out, *sessions, *state; /* labels; state: of sessions, NULL: all */
} sources[] = {
	{ "stile-turn", "turn.metrics", "stile_turn_relayed_bytes_total", "to_peer", "to_client", "stile_turn_allocations", NULL },
	{ "stile-tunnel", "relay.metrics", "stile_relay_bytes_total", "to_target", "to_source", "stile_relay_connections", NULL },
	{ "stile-tunnel", "relay.metrics", "stile_tunnel_bytes_total", "to_target", "to_source", "stile_tunnel_connections", NULL },
	{ "stile-sip", "sip.metrics", "stile_sip_received_bytes_total", NULL, NULL, "stile_sip_transactions", "open" },
	{ "stile-sip", "sip.metrics", "stile_sip_sent_bytes_total", "", NULL, NULL, NULL },
};

struct counted { /* of one service */
	char service[100];
	double in, out, sessions;
	int64_t at;
	double in_rate, out_rate;
	bool fresh; /* answered since the last point */
};
struct load {
	struct console *c;
	struct timer tick, system_tick;
	struct counted counted[SERVICES];
	unsigned n;
	json_t *points; /* array, oldest first */
	uint64_t wanted_until;
	unsigned long long cpu_busy, cpu_all;
	double cpu;
	json_t *interfaces; /* name → {in, out, at}: of the last look */
};

/* ---- services ---- */

static double sum(const json_t *v, const char *label)
{
	double all = 0;
	const char *key;
	json_t *one;

	if (json_is_number(v))
		return json_number_value(v);
	json_object_foreach((json_t *)v, key, one)
		if (!label || strcmp(key, label) == 0)
			all += json_number_value(one);
	return all;
}

static struct counted *counted_of(struct load *l, const char *service)
{
	for (unsigned i = 0; i < l->n; i++)
		if (strcmp(l->counted[i].service, service) == 0)
			return &l->counted[i];
	if (l->n == SERVICES)
		return NULL;
	(void)snprintf(l->counted[l->n].service, sizeof(l->counted[0].service), "%s", service);
	return &l->counted[l->n++];
}

/* A row without labels counts all of its metric: as "in", or as "out" if its in is empty. */
static void add_source(const struct source *s, const json_t *metrics, struct counted *now)
{
	const json_t *v = json_object_get(metrics, s->metric);

	if (s->in && *s->in) {
		now->in += sum(v, s->in);
		now->out += sum(v, s->out);
	} else if (s->in) {
		now->out += sum(v, NULL);
	} else {
		now->in += sum(v, NULL);
	}
	if (s->sessions)
		now->sessions += sum(json_object_get(metrics, s->sessions), s->state);
}

struct question {
	struct load *l;
	char service[100], program[32];
};

static void on_metrics(int r, json_t *result, json_t *error, void *arg)
{
	struct question *q = arg;
	struct counted *k = r == 0 && result && !error ? counted_of(q->l, q->service) : NULL, now = { 0 };
	double seconds;

	if (k) {
		for (size_t i = 0; i < ARRAY_LEN(sources); i++)
			if (strcmp(sources[i].program, q->program) == 0)
				add_source(&sources[i], result, &now);
		now.at = clock_unix_ms();
		seconds = (double)(now.at - k->at) / 1000;
		if (now.in < k->in || now.out < k->out) {
			k->in_rate = k->out_rate = 0; /* it was restarted, and counts anew */
		} else if (k->at && seconds > 0.2) {
			k->in_rate = (now.in - k->in) / seconds;
			k->out_rate = (now.out - k->out) / seconds;
		}
		k->in = now.in;
		k->out = now.out;
		k->sessions = now.sessions;
		k->at = now.at;
		k->fresh = true;
	}
	free(q);
}

static void ask_one(struct backend *b, void *arg)
{
	struct load *l = arg;

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct question *q;

		if (strcmp(sources[i].program, b->program) != 0)
			continue;
		q = b->link ? calloc(1, sizeof(*q)) : NULL;
		if (!q)
			return;
		q->l = l;
		(void)snprintf(q->service, sizeof(q->service), "%s", b->service);
		(void)snprintf(q->program, sizeof(q->program), "%s", b->program);
		(void)control_link_call(b->link, sources[i].verb, NULL, ANSWER_MS, on_metrics, q);
		return;
	}
}

/* A point of what has been answered since the last one. */
static json_t *point(struct load *l)
{
	json_t *services = json_object();

	for (unsigned i = 0; i < l->n; i++) {
		struct counted *k = &l->counted[i];

		if (k->fresh)
			json_object_set_new(services, k->service, json_pack("{s:f, s:f, s:f}", "in", k->in_rate, "out", k->out_rate, "sessions",
									    k->sessions));
		k->fresh = false;
	}
	return json_pack("{s:I, s:o}", "at", (json_int_t)clock_unix_ms(), "services", services);
}

static bool is_watched(const struct load *l, uint64_t now)
{
	return l->wanted_until > now || events_wanted(l->c->events, "console", "load");
}

static void on_tick(struct timer *t, uint64_t now)
{
	struct load *l = container_of(t, struct load, tick);
	json_t *p = point(l);

	if (p) {
		if (json_array_size(l->points) >= POINTS)
			json_array_remove(l->points, 0);
		json_array_append(l->points, p);
		events_publish(l->c->events, "console", "load", p);
		json_decref(p);
	}
	backends_each(l->c->backends, ask_one, l);
	loop_timer_set(l->c->svc->loop, t, is_watched(l, now) ? WATCHED_MS : ALONE_MS);
}

void load_get(struct ask *a)
{
	struct load *l = a->c->load;
	int64_t since = clock_unix_ms() - 15 * 60 * 1000;
	json_t *points = json_array(), *p;
	size_t i;

	l->wanted_until = loop_now(a->c->svc->loop) + WATCHED_FOR_MS;
	json_array_foreach(l->points, i, p)
		if (json_integer_value(json_object_get(p, "at")) >= since)
			json_array_append(points, p);
	ask_reply(a, 200, json_pack("{s:o}", "points", points));
}

/* ---- the machine ---- */

static void look_at_cpu(struct load *l)
{
	unsigned long long v[8] = { 0 }, busy, all = 0;
	FILE *f = fopen("/proc/stat", "re");

	if (!f)
		return;
	if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) == 8) {
		for (int i = 0; i < 8; i++)
			all += v[i];
		busy = all - v[3] - v[4];
		if (all > l->cpu_all && busy >= l->cpu_busy && l->cpu_all)
			l->cpu = (double)(busy - l->cpu_busy) / (double)(all - l->cpu_all);
		l->cpu_busy = busy;
		l->cpu_all = all;
	}
	fclose(f);
}

static json_t *memory_json(void)
{
	unsigned long long total = 0, available = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	char line[LINE];

	while (f && fgets(line, sizeof(line), f)) {
		(void)sscanf(line, "MemTotal: %llu", &total);
		(void)sscanf(line, "MemAvailable: %llu", &available);
	}
	if (f)
		fclose(f);
	return json_pack("{s:I, s:I}", "used", (json_int_t)((total - available) * 1024), "total", (json_int_t)(total * 1024));
}

static json_t *disk_json(const char *path)
{
	struct statvfs v;

	if (!path || statvfs(path, &v) < 0 || !v.f_blocks)
		return NULL;
	return json_pack("{s:s, s:I, s:I}", "path", path, "used", (json_int_t)((v.f_blocks - v.f_bavail) * v.f_frsize), "total",
			 (json_int_t)(v.f_blocks * v.f_frsize));
}

static json_t *disks_json(const struct load *l)
{
	const struct console_root *root = cfg_values(l->c->svc->cfg);
	json_t *disks = json_array(), *d = disk_json("/");

	if (d)
		json_array_append_new(disks, d);
	d = disk_json(root->store.path);
	if (d)
		json_array_append_new(disks, d);
	d = root->log.dir && *root->log.dir ? disk_json(root->log.dir) : NULL;
	if (d)
		json_array_append_new(disks, d);
	return disks;
}

static json_t *descriptors_json(void)
{
	unsigned long long used = 0, total = 0;
	FILE *f = fopen("/proc/sys/fs/file-nr", "re");

	if (f) {
		if (fscanf(f, "%llu %*u %llu", &used, &total) != 2)
			used = total = 0;
		fclose(f);
	}
	return json_pack("{s:I, s:I}", "used", (json_int_t)used, "total", (json_int_t)MIN(total, (unsigned long long)INT64_MAX));
}

static json_int_t link_speed(const char *name)
{
	char path[LINE];
	long mbit = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/speed", name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%ld", &mbit) != 1 || mbit < 0)
		mbit = 0;
	fclose(f);
	return (json_int_t)mbit * 1000000;
}

/* Rates since the last look; of an interface that is new there are none yet. */
static json_t *interface_json(struct load *l, const char *name, double in, double out, int64_t now)
{
	const json_t *was = json_object_get(l->interfaces, name);
	double seconds = (double)(now - json_integer_value(json_object_get(was, "at"))) / 1000, in_rate = 0, out_rate = 0;

	if (was && seconds > 0.2) {
		in_rate = (in - json_number_value(json_object_get(was, "in"))) / seconds;
		out_rate = (out - json_number_value(json_object_get(was, "out"))) / seconds;
	}
	json_object_set_new(l->interfaces, name, json_pack("{s:f, s:f, s:I}", "in", in, "out", out, "at", (json_int_t)now));
	return json_pack("{s:s, s:f, s:f, s:I}", "name", name, "in", MAX(in_rate, 0.0), "out", MAX(out_rate, 0.0), "speed", link_speed(name));
}

static json_t *interfaces_json(struct load *l)
{
	int64_t now = clock_unix_ms();
	json_t *list = json_array();
	FILE *f = fopen("/proc/net/dev", "re");
	char line[LINE], name[32];
	double in, out;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %31[^:]: %lf %*f %*f %*f %*f %*f %*f %*f %lf", name, &in, &out) == 3)
			json_array_append_new(list, interface_json(l, name, in, out, now));
	if (f)
		fclose(f);
	return list;
}

static json_t *system_json(struct load *l)
{
	char hostname[256] = "";
	double uptime = 0;
	FILE *f = fopen("/proc/uptime", "re");

	if (f) {
		if (fscanf(f, "%lf", &uptime) != 1)
			uptime = 0;
		fclose(f);
	}
	(void)gethostname(hostname, sizeof(hostname) - 1);
	return json_pack("{s:s, s:I, s:f, s:I, s:o, s:o, s:o, s:o}", "hostname", hostname, "uptime", (json_int_t)uptime, "cpu", l->cpu, "cores",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory", memory_json(), "disks", disks_json(l), "descriptors",
			 descriptors_json(), "interfaces", interfaces_json(l));
}

static void on_system_tick(struct timer *t, uint64_t now)
{
	struct load *l = container_of(t, struct load, system_tick);
	bool wanted = events_wanted(l->c->events, "console", "system");
	json_t *j;

	(void)now;
	look_at_cpu(l);
	j = wanted ? system_json(l) : NULL;
	if (j)
		events_publish(l->c->events, "console", "system", j);
	json_decref(j);
	loop_timer_set(l->c->svc->loop, t, wanted ? 2000 : ALONE_MS);
}

void system_get(struct ask *a)
{
	ask_reply(a, 200, system_json(a->c->load));
}

/* ---- life ---- */

int load_new(struct console *c, struct load **ret_l)
{
	struct load *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->c = c;
	l->points = json_array();
	l->interfaces = json_object();
	l->tick.fire = on_tick;
	l->system_tick.fire = on_system_tick;
	if (!l->points || !l->interfaces) {
		load_free(l);
		return -ENOMEM;
	}
	loop_timer_set(c->svc->loop, &l->tick, WATCHED_MS);
	loop_timer_set(c->svc->loop, &l->system_tick, 0);
	*ret_l = l;
	return 0;
}

struct load *load_free(struct load *l)
{
	if (!l)
		return NULL;
	timer_stop(&l->tick);
	timer_stop(&l->system_tick);
	json_decref(l->points);
	json_decref(l->interfaces);
	free(l);
	return NULL;
}
