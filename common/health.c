/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The items' words are read by programs (translations, alert rules): they are added to, never changed.
 *
 * A disk warns in two steps, by what is left and not only by percent: a tenth of a large disk is no reason for a
 * warning, and 200 MB are gone in a night. A certificate warns a month before its end, which is when certificate
 * authorities' clients renew it, so that a warning means that this did not happen.
 */
#include "common/health.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include "common/text.h"

enum { DAY_S = 86400, CERT_DAYS = 30, CERT_URGENT_DAYS = 3, CERTS_MAX = 4096 };
static const uint64_t DISK_LOW = 1ull << 30, DISK_ALMOST_FULL = 200ull << 20; /* bytes that are left */
enum { DISK_LOW_PERCENT = 5, DISK_ALMOST_FULL_PERCENT = 1 };

/* clang-format off */
static const struct {
	const char *word, *hint;
} rows[HEALTH_IDS] = {
	[HEALTH_RELOAD_FAILED]		= { "reload-failed", "correct the file (stile check), then: stile reload" },
	[HEALTH_RESTART_NEEDED]		= { "restart-needed", "restart the service when it suits: stile restart" },
	[HEALTH_CERTIFICATE_ENDED]	= { "certificate-ended", "renew it, then: stile reload" },
	[HEALTH_CERTIFICATE_ENDS]	= { "certificate-ends", "renew it, then: stile reload" },
	[HEALTH_CERTIFICATE_CHANGED]	= { "certificate-changed", "put it to work: stile reload" },
	[HEALTH_CERTIFICATE_UNREADABLE]	= { "certificate-unreadable", "put it back: the next start or reload needs it" },
	[HEALTH_DISK_SPACE]		= { "disk-space", "free some space, or keep fewer logs: log.keep, stile logs delete" },
	[HEALTH_DESCRIPTORS]		= { "descriptors", "raise LimitNOFILE in the unit (systemctl edit), then restart the service" },
	[HEALTH_MEMORY]			= { "memory", "raise MemoryMax in the unit (systemctl edit), or lower the limits of the configuration" },
	[HEALTH_LOOP_LATE]		= { "loop-late", "the machine has too much to do: look at its CPU, and at other virtual machines of the host" },
	[HEALTH_LOG_FAILING]		= { "log-failing", "make room, or correct the owner of the log's folder" },
	[HEALTH_STORE_FAILING]		= { "store-failing", "make room, or correct the owner of the store's folder" },
	[HEALTH_LISTENER_NOT_BOUND]	= { "listener-not-bound", "stop what holds the port (ss -lnp), or give the address to this machine" },
	[HEALTH_JOB_FAILING]		= { "job-failing", "stile agent jobs and stile tunnel jobs show it" },
	[HEALTH_ROUTE_FAILING]		= { "route-failing", "stile relay routes shows it" },
	[HEALTH_PUBLIC_ADDRESS]		= { "public-address", "let UDP out to the servers of stun_servers, or set the address" },
	[HEALTH_SERVER_UNREACHABLE]	= { "server-unreachable", "is it running, and is the way open? stile status, stile agent status" },
	[HEALTH_BACKEND_DOWN]		= { "backend-down", "start what should answer there" },
	[HEALTH_PARTNER_FAILING]	= { "partner-failing", "ask why: stile sip doctor" },
	[HEALTH_FAST_PATH]		= { "fast-path", "start stile-fastpath; until then everything is relayed in user space" },
};
/* clang-format on */

const char *health_id_word(unsigned id)
{
	return id < HEALTH_IDS ? rows[id].word : NULL;
}

const char *health_id_hint(unsigned id)
{
	return id < HEALTH_IDS ? rows[id].hint : NULL;
}

/* ---- items ---- */

static json_t *item_json(enum health_id id, enum health_severity severity, const char *subject, const char *text)
{
	return json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:{}}", "id", rows[id].word, "severity",
			 severity == HEALTH_ERROR ? "error" : "warning", "subject", subject, "text", text, "hint",
			 rows[id].hint, "args");
}

void health_add(struct health *h, enum health_id id, enum health_severity severity, const char *subject, const char *fmt, ...)
{
	char text[512], clean[sizeof(text)];
	struct sb b = sb_init(clean, sizeof(clean));
	va_list ap;

	h->worst = MAX(h->worst, severity);
	h->open = h->n[id]++ < HEALTH_EACH;
	if (!h->open) /* a thousand jobs that fail for one reason are told by their number */
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (const char *s = text; *s; s++) /* some of it others have said: a terminal and a log are to survive it */
		sb_char(&b, (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s);
	json_t *item = item_json(id, severity, subject, clean);
	if (!item) /* cut within a character, or what others have said is no UTF-8 */
		item = item_json(id, severity, "", rows[id].word);
	json_array_append_new(h->items, item);
}

static json_t *last(const struct health *h)
{
	size_t n = json_array_size(h->items);

	return n && h->open ? json_array_get(h->items, n - 1) : NULL;
}

void health_arg_i64(struct health *h, const char *key, int64_t v)
{
	json_object_set_new(json_object_get(last(h), "args"), key, json_integer((json_int_t)v));
}

void health_arg_str(struct health *h, const char *key, const char *v)
{
	json_object_set_new(json_object_get(last(h), "args"), key, json_string(v));
}

/* ---- certificates ---- */

/* The end of the first certificate in a PEM file, unix s. */
static int read_end(const char *path, struct health_end *ret_end)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
	struct health_end end = { 0 };
	struct tm tm;
	int r = !f ? -errno : !x ? -EINVAL : 0;

	if (r == 0 && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
		end.at = (int64_t)timegm(&tm);
	else if (r == 0)
		r = -EINVAL;
	if (r == 0 && X509_digest(x, EVP_sha256(), end.sha256, NULL) != 1)
		r = -ENOMEM;
	if (r == 0)
		*ret_end = end;
	X509_free(x);
	if (f)
		(void)fclose(f);
	ERR_clear_error();
	return r;
}

static void look(struct health_cert *c)
{
	struct stat st;
	int64_t stamp;

	if (stat(c->path, &st) < 0) {
		c->error = -errno;
		return;
	}
	stamp = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	if (!c->error && c->stamp_ns == stamp && c->size == st.st_size && c->inode == st.st_ino)
		return;
	c->error = read_end(c->path, &c->end);
	if (c->error)
		return;
	c->stamp_ns = stamp;
	c->size = st.st_size;
	c->inode = st.st_ino;
}

static struct health_cert *find(struct health_certs *all, const char *path)
{
	struct health_cert *v;

	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].path, path) == 0)
			return &all->v[i];
	v = all->n < CERTS_MAX ? realloc(all->v, (all->n + 1) * sizeof(*v)) : NULL;
	if (!v)
		return NULL;
	all->v = v;
	v[all->n] = (struct health_cert){ .path = strdup(path), .error = -EAGAIN };
	if (!v[all->n].path)
		return NULL;
	look(&v[all->n]);
	v[all->n].at_work = v[all->n].end;
	return &v[all->n++];
}

void health_certs_loaded(struct health_certs *c)
{
	for (size_t i = 0; i < c->n; i++) {
		look(&c->v[i]);
		c->v[i].at_work = c->v[i].end;
	}
}

void health_certs_deinit(struct health_certs *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i].path);
	free(c->v);
	*c = (struct health_certs){ 0 };
}

static void say_end(struct health *h, const char *key, const struct health_cert *c)
{
	int64_t left = c->at_work.at - h->now_ms / 1000, days = left / DAY_S;
	time_t end = (time_t)c->at_work.at;
	char day[32] = "";
	struct tm tm;

	if (!c->at_work.at || days >= CERT_DAYS)
		return;
	if (gmtime_r(&end, &tm))
		(void)strftime(day, sizeof(day), "%F", &tm);
	if (left <= 0)
		health_add(h, HEALTH_CERTIFICATE_ENDED, HEALTH_ERROR, c->path, "the certificate %s ended on %s: clients refuse it", c->path, day);
	else
		health_add(h, HEALTH_CERTIFICATE_ENDS, days < CERT_URGENT_DAYS ? HEALTH_ERROR : HEALTH_WARNING, c->path,
			   "the certificate %s ends in %lld day%s, on %s", c->path, (long long)days, days == 1 ? "" : "s", day);
	health_arg_i64(h, "days", days);
	health_arg_i64(h, "ends_at", c->at_work.at * 1000);
	health_arg_str(h, "key", key);
}

/* Who may not read it any more, for he is no longer root, is told nothing: a reload that cannot read it says so. */
void health_certificate(struct health *h, const char *key, const char *path)
{
	struct health_cert *c = find(h->certs, path);

	if (!c)
		return;
	look(c);
	say_end(h, key, c);
	if (c->error == -ENOENT || c->error == -EINVAL) {
		health_add(h, HEALTH_CERTIFICATE_UNREADABLE, HEALTH_WARNING, path, c->error == -ENOENT ?
			   "the file of the certificate is gone: %s" : "there is no certificate in the file any more: %s", path);
		health_arg_str(h, "key", key);
	} else if (!c->error && memcmp(c->end.sha256, c->at_work.sha256, sizeof(c->end.sha256)) != 0) {
		health_add(h, HEALTH_CERTIFICATE_CHANGED, HEALTH_WARNING, path, "there is another certificate in %s than the one at work", path);
		health_arg_str(h, "key", key);
	}
}

/* ---- disks ---- */

void health_folder(struct health *h, const char *what, const char *path)
{
	struct statvfs v;
	char left[32], all[32];
	struct sb l = sb_init(left, sizeof(left)), a = sb_init(all, sizeof(all));
	uint64_t room, total, percent;
	bool full;

	if (!path || !*path || statvfs(path, &v) < 0 || !v.f_blocks)
		return;
	room = (uint64_t)v.f_bavail * v.f_frsize;
	total = (uint64_t)v.f_blocks * v.f_frsize;
	percent = room * 100 / total;
	full = room < DISK_ALMOST_FULL && (percent < DISK_LOW_PERCENT || room < DISK_ALMOST_FULL / 4);
	if (!full && !(room < DISK_LOW && percent < DISK_LOW_PERCENT) && percent >= DISK_ALMOST_FULL_PERCENT)
		return;
	sb_size(&l, room);
	sb_size(&a, total);
	health_add(h, HEALTH_DISK_SPACE, full ? HEALTH_ERROR : HEALTH_WARNING, path, "%s of %s are left on the disk of the %s folder %s", left, all,
		   what, path);
	health_arg_i64(h, "free", (int64_t)room);
	health_arg_i64(h, "size", (int64_t)total);
	health_arg_str(h, "what", what);
}

/* ---- all of it ---- */

/* ---- memory and loops ---- */

void health_memory(struct health *h, uint64_t used, uint64_t limit)
{
	enum { FULL_PERCENT = 80, ERROR_PERCENT = 95 };

	if (!limit || used * 100 < limit * FULL_PERCENT)
		return;
	health_add(h, HEALTH_MEMORY, used * 100 >= limit * ERROR_PERCENT ? HEALTH_ERROR : HEALTH_WARNING, "", "%llu of %llu MB of memory are in use",
		   (unsigned long long)(used >> 20), (unsigned long long)(limit >> 20));
	health_arg_i64(h, "used", (int64_t)used);
	health_arg_i64(h, "limit", (int64_t)limit);
}

enum { SLOT_MS = 10000 };

void health_late_tick(struct health_late *l, uint64_t now_ms)
{
	uint64_t slot = now_ms / SLOT_MS;
	size_t at = slot % HEALTH_LATE_SLOTS;

	if (l->slot[at] != slot) {
		l->slot[at] = slot;
		l->ms[at] = 0;
	}
	if (l->due && now_ms > l->due)
		l->ms[at] += now_ms - l->due;
	l->due = now_ms + HEALTH_TICK_MS;
}

uint64_t health_late_ms(const struct health_late *l, uint64_t now_ms)
{
	uint64_t sum = 0, slot = now_ms / SLOT_MS;

	for (size_t i = 0; i < HEALTH_LATE_SLOTS; i++)
		if (slot - l->slot[i] < HEALTH_LATE_SLOTS)
			sum += l->ms[i];
	return sum;
}

void health_loop(struct health *h, uint64_t late_ms)
{
	if (late_ms < HEALTH_LATE_MS)
		return;
	health_add(h, HEALTH_LOOP_LATE, HEALTH_WARNING, "", "its main loop was %llu s late within the last minute", (unsigned long long)(late_ms / 1000));
	health_arg_i64(h, "late_ms", (int64_t)late_ms);
}

json_t *health_json(struct health *h)
{
	json_t *sorted = json_array(), *item;
	bool any = false;
	size_t i;

	for (unsigned id = 0; id < HEALTH_IDS; id++) {
		unsigned more = h->n[id] - MIN(h->n[id], (unsigned)HEALTH_EACH);

		any |= h->n[id] > 0;
		if (!more)
			continue;
		h->n[id] = 0;
		health_add(h, (enum health_id)id, HEALTH_WARNING, "", "and %u more", more);
		health_arg_i64(h, "more", more);
	}
	for (int pass = 0; pass < 2; pass++)
		json_array_foreach(h->items, i, item)
			if ((strcmp(json_string_value(json_object_get(item, "severity")), "error") == 0) == (pass == 0))
				json_array_append(sorted, item);
	json_decref(h->items);
	h->items = NULL;
	return json_pack("{s:I, s:s, s:o}", "at", (json_int_t)h->now_ms, "worst", !any ? "good" : h->worst == HEALTH_ERROR ? "error" : "warning",
			 "items", sorted);
}
