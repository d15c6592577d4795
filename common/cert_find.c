/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for certificates; see cert_find.h. Only regular files of a moderate size are opened, for a folder may hold pipes and
 * disks, too. A key is looked for where programs put it: in the same file, under the same name, or as privkey.pem.
 * The file at hand, with what was found of it, lives for the call of fn alone.
 */
#include "common/cert_find.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LARGEST = 1 << 20 };

struct search {
	time_t now;
	unsigned files, found;
	void (*fn)(void *arg, const struct cert_found *f);
	void *arg;
	struct cert_found f; /* the one at hand; large */
};

static bool ends(const char *name, const char *with)
{
	size_t n = strlen(name), k = strlen(with);

	return n > k && strcmp(name + n - k, with) == 0;
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_LARGEST;
}

static bool is_key(struct search *s, const char *folder, const char *name)
{
	struct cert_found *f = &s->f;

	if ((size_t)snprintf(f->key, sizeof(f->key), "%s/%s", folder, name) >= sizeof(f->key) || !is_file(f->key))
		return false;
	cert_examine(&(struct cert_files){ .cert = f->cert, .key = f->key }, s->now, &f->report);
	return f->report.key_matches;
}

static void find_key(struct search *s, const char *folder, const char *name)
{
	static const char *const tails[] = { ".key", "-key.pem", ".key.pem" };
	char other[NAME_MAX + 16];
	int stem = (int)(strrchr(name, '.') - name);

	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		(void)snprintf(other, sizeof(other), "%.*s%s", stem, name, tails[i]);
		if (is_key(s, folder, other))
			return;
	}
	if (is_key(s, folder, "privkey.pem") || is_key(s, folder, name))
		return;
	s->f.key[0] = '\0';
	cert_examine(&(struct cert_files){ .cert = s->f.cert }, s->now, &s->f.report);
}

static void look_at(struct search *s, const char *folder, const char *name)
{
	struct cert_found *f = &s->f;

	if (!ends(name, ".pem") && !ends(name, ".crt") && !ends(name, ".cer"))
		return;
	if ((size_t)snprintf(f->cert, sizeof(f->cert), "%s/%s", folder, name) >= sizeof(f->cert) || !is_file(f->cert))
		return;
	cert_examine(&(struct cert_files){ .cert = f->cert }, s->now, &f->report);
	if (!f->report.readable)
		return;
	s->found++;
	find_key(s, folder, name);
	s->fn(s->arg, f);
}

static int is_visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void look_in(struct search *s, const char *folder)
{
	struct dirent **names = NULL;
	int n = scandir(folder, &names, is_visible, alphasort);

	for (int i = 0; i < n; i++) {
		if (s->found < CERT_FIND_MAX && s->files++ < CERT_FIND_FILES)
			look_at(s, folder, names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

void cert_find(const char *const *folders, size_t n, time_t now, void (*fn)(void *arg, const struct cert_found *f), void *arg)
{
	struct search *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->now = now;
	s->fn = fn;
	s->arg = arg;
	for (size_t i = 0; i < n; i++) {
		bool twice = false;
		for (size_t k = 0; k < i; k++)
			twice |= strcmp(folders[i], folders[k]) == 0;
		if (!twice)
			look_in(s, folders[i]);
	}
	free(s);
}
