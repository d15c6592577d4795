/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers shared by unit tests; see support.h. */
#include "tests/unit/support.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void support_dir_make(struct support_dir *d)
{
	strcpy(d->path, "/tmp/stile-unit-XXXXXX");
	assert_non_null(mkdtemp(d->path));
}

const char *support_path(const struct support_dir *d, const char *name)
{
	static char buf[4][SUPPORT_PATH];
	static unsigned next;
	char *p = buf[next++ % 4];

	assert_in_range(snprintf(p, SUPPORT_PATH, "%s/%s", d->path, name), 1, SUPPORT_PATH - 1);
	return p;
}

void support_dir_remove(struct support_dir *d)
{
	DIR *dir = opendir(d->path);
	struct dirent *e;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlink(support_path(d, e->d_name));
	closedir(dir);
	assert_int_equal(rmdir(d->path), 0);
}

void support_write(const struct support_dir *d, const char *name, const char *text)
{
	FILE *f = fopen(support_path(d, name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

void support_cert(const struct support_dir *d, const char *name, const char *san, int from_days,
		  int until_days)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	char file[64];
	FILE *f;

	assert_non_null(key);
	assert_non_null(ext);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 17);
	X509_gmtime_adj(X509_getm_notBefore(x), 86400L * from_days);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400L * until_days);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	assert_int_equal(X509_add_ext(x, ext, -1), 1);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	(void)snprintf(file, sizeof(file), "%s.pem", name);
	f = fopen(support_path(d, file), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, x), 1);
	fclose(f);
	(void)snprintf(file, sizeof(file), "%s.key", name);
	f = fopen(support_path(d, file), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	X509_EXTENSION_free(ext);
	X509_free(x);
	EVP_PKEY_free(key);
}

struct watcher {
	struct pass_hook hook;
	struct timer limit;
	struct loop *l;
	const bool *flag;
	unsigned left;
	bool late;
};

/* Patience is counted in steps: a time in which this process was stopped is one of them, however long it was. */
enum { STEP_MS = 200 };

static void look(struct pass_hook *h)
{
	struct watcher *w = container_of(h, struct watcher, hook);

	if (w->flag && *w->flag)
		loop_stop(w->l);
}

static void give_up(struct timer *t, uint64_t now)
{
	struct watcher *w = container_of(t, struct watcher, limit);

	(void)now;
	w->left -= MIN(w->left, STEP_MS);
	if (w->flag && w->left) {
		loop_timer_set(w->l, &w->limit, MIN(w->left, STEP_MS));
		return;
	}
	w->late = true;
	loop_stop(w->l);
}

static bool run(struct loop *l, const bool *flag, unsigned ms)
{
	struct watcher w = { .hook.run = look, .limit.fire = give_up, .l = l, .flag = flag, .left = ms };

	loop_stop(l); /* a pass that brings the loop's time up to date: it is that of the last one, which may be long ago */
	assert_int_equal(loop_run(l), 0);
	loop_add_hook(l, &w.hook);
	loop_timer_set(l, &w.limit, flag ? MIN(ms, STEP_MS) : ms);
	assert_int_equal(loop_run(l), 0);
	loop_remove_hook(&w.hook);
	timer_stop(&w.limit);
	return !w.late || (flag && *flag);
}

void support_run_until(struct loop *l, const bool *flag, unsigned ms)
{
	assert_true(run(l, flag, ms));
}

void support_run_for(struct loop *l, unsigned ms)
{
	(void)run(l, NULL, ms);
}

long support_rss_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}
