/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of a forward job, its kinds of values, the checks between its keys, and its JSON. The server judges
 * a job once more when it arrives (tunnel/server/jobs.c): what stands here is what makes sense at all.
 * No I/O here, and nothing of the wire.
 */
#include "tunnel/job.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/values.h"

#define SCHEMA(n, r, s)                                                                            \
	{                                                                                          \
		.name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s)                      \
	}
#define LIMIT(member)                                                                              \
	.offset = offsetof(struct job_config, limits.member) - offsetof(struct job_config, limits)
#define JOB(member) CFG_AT(struct job_config, member)

static const char *const protocols[] = { "tcp", "udp", NULL };
static const char *const proxies[] = { "off", "v2", NULL };

/* Two choices in a bool. */
static int parse_protocol(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	unsigned v = 0;
	int r = cfg_enum.parse(row, t, &v, err, err_n);

	if (r == 0)
		*(bool *)dst = v == 1;
	return r;
}

static void print_protocol(const struct cfg_row *row, const void *src, struct sb *out)
{
	sb_str(out, row->choices[*(const bool *)src]);
}

const struct cfg_type cfg_job_protocol = { "one of",	      sizeof(bool),   "tcp",
					      parse_protocol, print_protocol, NULL };

/* clang-format off */
static const struct cfg_row limits_rows[] = {
	{ .name = "connections", .type = &cfg_count, LIMIT(connections), .flags = CFG_RELOAD, .min = 1, .def = "1000",
	  .unit = "connections", .help = "Connections of this job at a time, or flows of a UDP job; more are refused." },
	{ .name = "bitrate", .type = &cfg_bitrate, LIMIT(bitrate), .flags = CFG_RELOAD, .min = 8000, .def = "unlimited",
	  .unit = "bit/s", .help = "Traffic of this job, all connections and both directions together. TCP then waits, UDP is dropped." },
};
static const struct cfg_schema limits_schema = SCHEMA("agent.jobs.limits", limits_rows, sizeof(((struct job_config *)NULL)->limits));

static const struct cfg_row job_rows[] = {
	{ .name = "name", .type = &cfg_string, JOB(name), .flags = CFG_RELOAD, .min = 1, .max = JOB_NAME_MAX,
	  .help = "Name of the job in commands, log and records. Default: its port, \"22222\", with \"/udp\" behind it if it is one for UDP." },
	{ .name = "port", .type = &cfg_job_port, JOB(port), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "Port of the server, or a range of ports, within what the server allows this agent; * is one that the server "
	  "chooses and keeps for this job." },
	{ .name = "target", .type = &cfg_route_target, JOB(target), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "Host (name or address) and port in any network that the agent reaches, 127.0.0.1 too. Without a port: the "
	  "one that was connected to; with a range, the port here belongs to the first, and so on." },
	{ .name = "protocol", .type = &cfg_job_protocol, JOB(udp), .flags = CFG_RELOAD, .choices = protocols, .def = "tcp",
	  .help = "What is carried. UDP has a flow for each source." },
	{ .name = "encrypt", .type = &cfg_bool, JOB(encrypt), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether the bytes between agent and server are encrypted. false is for bytes that are encrypted already, and holds "
	  "only if the server has tunnel.allow_plain: everybody on the way can read and change them, and a lost connection "
	  "is not resumed." },
	{ .name = "enabled", .type = &cfg_bool, JOB(enabled), .flags = CFG_RELOAD, .def = "true", .help = "Whether the job is started." },
	{ .name = "bind", .type = &cfg_ip, JOB(bind), .flags = CFG_RELOAD,
	  .help = "Address of the server on which the port appears. Default: tunnel.bind of the server." },
	{ .name = "allow", .type = &cfg_prefix, JOB(allow), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Prefixes that sources may come from; none: all." },
	{ .name = "expire", .type = &cfg_job_expiry, JOB(expire), .flags = CFG_RELOAD,
	  .help = "When the job ends by itself: a time such as \"2026-12-01 18:00\" (local, or UTC with a Z behind it), or a duration, "
	  "which counts from when the job was made, and in a file from the agent's start. Connections end then, too." },
	{ .name = "limits", .sub = &limits_schema, JOB(limits), .flags = CFG_RELOAD, .help = "What the job may use." },
	{ .name = "proxy_protocol", .type = &cfg_enum, JOB(proxy_protocol), .flags = CFG_RELOAD, .choices = proxies, .def = "off",
	  .help = "v2: the target is told the source's address by a PROXY protocol header in front of the connection; it must expect one." },
	{ .name = "health_check", .type = &cfg_duration, JOB(health_ms), .flags = CFG_RELOAD, .max = 86400000, .def = "0s",
	  .help = "How often the agent tries whether the target takes connections; while it does not, the server refuses those of "
	  "the job at once. 0: never." },
	{ .name = "connect_timeout", .type = &cfg_duration, JOB(connect_ms), .flags = CFG_RELOAD, .min = 100, .max = 300000,
	  .def = "10s", .help = "How long each try to reach an address of the target may take." },
	{ .name = "note", .type = &cfg_string, JOB(note), .flags = CFG_RELOAD, .max = JOB_NOTE_MAX, .help = "For people." },
};
/* clang-format on */
const struct cfg_schema job_schema = SCHEMA("agent.jobs", job_rows, sizeof(struct job_config));

static const struct cfg_row one_job_rows[] = {
	{ .name = "job", .sub = &job_schema, .flags = CFG_REQUIRED, .help = "One forward job." },
};
static const struct cfg_schema one_job_schema = SCHEMA("job", one_job_rows, sizeof(struct job_config));
const struct cfg_root job_cfg_root = { .schema = &one_job_schema };

/* ---- kinds of values ---- */

static int parse_port(struct text t, uint16_t *ret_port)
{
	uint64_t v;

	if (text_u64(t, &v) < 0 || v == 0 || v > 65535)
		return -EINVAL;
	*ret_port = (uint16_t)v;
	return 0;
}

static int parse_job_port(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct job_port p = { 0 };
	struct text last = t, first = text_cut(&last, '-');

	(void)row;
	if (text_eq(t, TEXT("*"))) {
		p.any = true;
		*(struct job_port *)dst = p;
		return 0;
	}
	if (parse_port(first, &p.first) < 0 || (last.p && parse_port(last, &p.last) < 0)) {
		(void)snprintf(err, err_n,
			       "must be a port of the server, a range as 20000-20009, or * for one that the server chooses, "
			       "not '%.*s'",
			       (int)MIN(t.n, 80u), t.p);
		return -EINVAL;
	}
	if (!last.p)
		p.last = p.first;
	if (p.last < p.first || p.last - p.first >= JOB_PORTS_MAX) {
		(void)snprintf(err, err_n,
			       "must have a range of at most %d ports, the first of them first, not '%.*s'",
			       JOB_PORTS_MAX, (int)MIN(t.n, 80u), t.p);
		return -EINVAL;
	}
	*(struct job_port *)dst = p;
	return 0;
}

static void print_job_port(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct job_port *p = src;

	(void)row;
	if (!p->first)
		sb_char(out, '*');
	else if (p->first == p->last)
		sb_fmt(out, "%u", p->first);
	else
		sb_fmt(out, "%u-%u", p->first, p->last);
}

/* "2026-12-01 18:00", "2026-12-01T18:00:00Z" */
static int parse_time(struct text t, int64_t *ret_at)
{
	char buf[32];
	struct tm tm = { .tm_isdst = -1 };
	bool utc = t.n && t.p[t.n - 1] == 'Z';
	static const char *const forms[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d" };
	time_t at;

	if (t.n - utc >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, t.p, t.n - utc);
	buf[t.n - utc] = 0;
	if (t.n > 10 && buf[10] == 'T')
		buf[10] = ' ';
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const char *end = strptime(buf, forms[i], &tm);

		if (!end || *end)
			continue;
		at = utc ? timegm(&tm) : mktime(&tm);
		if (at <= 0)
			return -EINVAL;
		*ret_at = at;
		return 0;
	}
	return -EINVAL;
}

static int parse_expiry(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct job_expiry e = { 0 };

	(void)row;
	if (parse_time(t, &e.at) == 0) {
		*(struct job_expiry *)dst = e;
		return 0;
	}
	if (text_duration(t, &e.in_ms) < 0 || e.in_ms < 1000 || e.in_ms > 3660ull * 86400000) {
		(void)snprintf(err, err_n,
			       "must be a time as \"2026-12-01 18:00\" or a duration as 2h, not '%.*s'",
			       (int)MIN(t.n, 80u), t.p);
		return -EINVAL;
	}
	*(struct job_expiry *)dst = e;
	return 0;
}

static void print_expiry(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct job_expiry *e = src;
	char buf[32];
	struct tm tm;
	time_t at = (time_t)e->at;

	if (e->in_ms)
		cfg_duration.print(row, &e->in_ms, out);
	else if (at && gmtime_r(&at, &tm) && strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%SZ", &tm))
		sb_str(out, buf);
}

/* clang-format off */
const struct cfg_type cfg_job_port = { "port, ports or *", sizeof(struct job_port), "22222", parse_job_port, print_job_port, NULL };
const struct cfg_type cfg_job_expiry = { "time or duration", sizeof(struct job_expiry), "2h", parse_expiry, print_expiry, NULL };
/* clang-format on */

/* ---- checks ---- */

const char *job_name(const struct job_config *j, char buf[static JOB_NAME_STRLEN])
{
	struct sb b = sb_init(buf, JOB_NAME_MAX + 1); /* of a long host: cut */

	if (j->name) {
		sb_str(&b, j->name);
		return buf;
	}
	cfg_job_port.print(NULL, &j->port, &b);
	if (!j->port.first) {
		sb_char(&b, ':');
		cfg_route_target.print(NULL, &j->target, &b);
	}
	if (j->udp)
		sb_str(&b, "/udp");
	return buf;
}

static void check_name(struct cfg *c, const char *path, const struct job_config *j)
{
	for (const char *p = j->name ? j->name : ""; *p; p++)
		if ((unsigned char)*p < 0x21 || *p == 0x7f) {
			cfg_add_error(c, cfg_path_under(path, "name").s,
				      "a job's name has no blanks and no control characters");
			return;
		}
}

static void check_note(struct cfg *c, const char *path, const struct job_config *j)
{
	for (const char *p = j->note ? j->note : ""; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			cfg_add_error(c, cfg_path_under(path, "note").s, "a note is one line without control characters: it goes to the other side");
			return;
		}
}

void job_config_check(struct cfg *c, const char *path, const struct job_config *j)
{
	check_name(c, path, j);
	check_note(c, path, j);
	if (j->udp && j->proxy_protocol)
		cfg_add_error(c, cfg_path_under(path, "proxy_protocol").s,
			      "a PROXY header goes in front of a TCP connection: take the key away, or "
			      "protocol: udp");
	if (j->udp && !j->encrypt)
		cfg_add_error(c, cfg_path_under(path, "encrypt").s,
			      "UDP is always carried encrypted: take the key away, or protocol: udp");
	if (j->udp && j->health_ms)
		cfg_add_error(c, cfg_path_under(path, "health_check").s,
			      "whether a UDP target listens cannot be seen: take the key away, or "
			      "protocol: udp");
	if (j->health_ms && j->health_ms < 1000)
		cfg_add_error(c, cfg_path_under(path, "health_check").s,
			      "a target is tried once a second at most");
	if (!j->port.first && j->target.host && !j->target.port)
		cfg_add_error(c, cfg_path_under(path, "target").s,
			      "a job whose port the server chooses needs the target's port");
	if (j->target.port && j->target.port + job_ports(j) - 1 > 65535)
		cfg_add_error(c, cfg_path_under(path, "target").s,
			      "the range of %u ports would end behind port 65535 at the target",
			      job_ports(j));
	if (j->allow.n > JOB_ALLOW_MAX)
		cfg_add_error(c, cfg_path_under(path, "allow").s, "a job has at most %d prefixes of sources",
			      JOB_ALLOW_MAX);
}

bool job_same_port(const struct job_config *a, const struct job_config *b)
{
	bool same_place = addr_family(&a->bind) == AF_UNSPEC ||
			  addr_family(&b->bind) == AF_UNSPEC || addr_equal_ip(&a->bind, &b->bind);

	return a->udp == b->udp && a->port.first && same_place && a->port.first <= b->port.last &&
	       b->port.first <= a->port.last;
}

/* Some hundred jobs at most: each is compared with each before it. */
void job_list_check(struct cfg *c, const char *path, const struct cfg_list *jobs)
{
	const struct job_config *j = jobs->items;
	char a[JOB_NAME_STRLEN], b[JOB_NAME_STRLEN];

	for (size_t i = 0; i < jobs->n; i++) {
		job_config_check(c, cfg_path_item(path, i, "").s, &j[i]);
		if (!j[i].target.host)
			continue;
		for (size_t k = 0; k < i; k++) {
			if (!j[k].target.host)
				continue;
			if (strcmp(job_name(&j[i], a), job_name(&j[k], b)) == 0)
				cfg_add_error(c, cfg_path_item(path, i, "").s,
					      "two jobs are called '%s': give one of them a name", a);
			else if (job_same_port(&j[i], &j[k]) && j[i].enabled && j[k].enabled)
				cfg_add_error(c, cfg_path_item(path, i, "port").s,
					      "port %u is taken by the job '%s' already",
					      MAX(j[i].port.first, j[k].port.first),
					      job_name(&j[k], b));
		}
	}
}

/* ---- JSON ---- */

json_t *job_config_json(const struct job_config *j)
{
	return values_json(&job_schema, j);
}

static void check(struct cfg *c, const char *path)
{
	job_config_check(c, path, cfg_values(c));
}

int job_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg)
{
	static const struct values_kind kind = { .name = "job", .root = &job_cfg_root, .check = check };

	return values_parse(&kind, o, err, err_n, ret_cfg);
}

void job_settle_expiry(json_t *o, const struct job_config *j, int64_t now_s)
{
	struct job_expiry e = { .at = now_s + (int64_t)(j->expire.in_ms / 1000) };
	char buf[40];
	struct sb b = sb_init(buf, sizeof(buf));

	if (!j->expire.in_ms)
		return;
	cfg_job_expiry.print(NULL, &e, &b);
	json_object_set_new(o, "expire", json_string(buf));
}
