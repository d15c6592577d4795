/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for certificates; see cert_find.h. Only regular files of a moderate size are opened, for a folder may hold
 * pipes and disks, too. A key is looked for where programs put it: in the same file, under the same name, or as
 * privkey.pem.
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
	json_t *rows;
	char folders[CERT_FIND_FOLDERS][PATH_MAX];
	size_t n_folders;
	/* the one at hand; key "": none that belongs to it */
	char cert[PATH_MAX], key[PATH_MAX];
	struct cert_report report;
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
	if ((size_t)snprintf(s->key, sizeof(s->key), "%s/%s", folder, name) >= sizeof(s->key) || !is_file(s->key))
		return false;
	cert_examine(&(struct cert_files){ .cert = s->cert, .key = s->key }, s->now, &s->report);
	return s->report.key_matches;
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
	s->key[0] = '\0';
	cert_examine(&(struct cert_files){ .cert = s->cert }, s->now, &s->report);
}

static void look_at(struct search *s, const char *folder, const char *name)
{
	if (!ends(name, ".pem") && !ends(name, ".crt") && !ends(name, ".cer"))
		return;
	if ((size_t)snprintf(s->cert, sizeof(s->cert), "%s/%s", folder, name) >= sizeof(s->cert) || !is_file(s->cert))
		return;
	cert_examine(&(struct cert_files){ .cert = s->cert }, s->now, &s->report);
	if (!s->report.readable)
		return;
	s->found++;
	find_key(s, folder, name);
	json_array_append_new(s->rows, cert_report_row(&(struct cert_files){ .cert = s->cert, .key = s->key[0] ? s->key : NULL }, &s->report));
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

static void add_folder(struct search *s, const char *file)
{
	const char *slash = strrchr(file, '/');
	char *folder = s->folders[s->n_folders];

	if (slash)
		(void)snprintf(folder, PATH_MAX, "%.*s", (int)MAX(slash - file, 1), file);
	else
		(void)snprintf(folder, PATH_MAX, ".");
	for (size_t i = 0; i < s->n_folders; i++)
		if (strcmp(s->folders[i], folder) == 0)
			return;
	s->n_folders++;
}

json_t *cert_find(const char *const *files, size_t n, time_t now)
{
	struct search *s = calloc(1, sizeof(*s));
	json_t *rows = s ? json_array() : NULL;

	if (s) {
		s->now = now;
		s->rows = rows;
		for (size_t i = 0; i < n && s->n_folders < CERT_FIND_FOLDERS; i++)
			if (files[i])
				add_folder(s, files[i]);
		for (size_t i = 0; i < s->n_folders; i++)
			look_in(s, s->folders[i]);
	}
	free(s);
	return rows;
}
