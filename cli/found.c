/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which service a word of the command line means, and which have a control socket in the runtime folder, be it a dead one: whoever
 * connects finds out.
 *
 * The supervisor's socket is no service's. In the order of their names, so that a list stays as it is from one look
 * to the next.
 */
#include <dirent.h>
#include <string.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/defs.h"
#include "common/manager.h"

static bool is_instance(const char *name, const char *instance)
{
	const char *at = strchr(name, '@');

	return strcmp(at ? at + 1 : "", instance) == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct found_service *)a)->full, ((const struct found_service *)b)->full);
}

int services_unknown(const struct cli *cli, const char *word, const char *more)
{
	fprintf(stderr, "stile %s: there is no service '", cli->command->name);
	print_clean(stderr, word);
	fprintf(stderr, "'; there is:");
	for (const char *const *p = manager_programs; *p; p++)
		fprintf(stderr, " %s", *p + strlen("stile-"));
	fprintf(stderr, "%s\n", more);
	return EXIT_USAGE;
}

int services_word(const struct cli *cli, const char *word, const char *more, const char **ret_program, const char **ret_instance)
{
	const char *at = strchr(word, '@');

	*ret_program = manager_program(word, at ? (size_t)(at - word) : strlen(word));
	*ret_instance = at ? at + 1 : cli_instance(cli);
	return *ret_program ? 0 : services_unknown(cli, word, more);
}

int services_name(const struct cli *cli, const char *word, const char *more, char out[static SERVICE_NAME])
{
	const char *program, *instance;
	int r = services_word(cli, word, more, &program, &instance);

	if (r == 0)
		snprintf(out, SERVICE_NAME, "%s%s%.70s", program, instance && *instance ? "@" : "", instance ? instance : "");
	return r;
}

json_t *services_ask(struct control_client *cl, const char *verb)
{
	json_t *result = NULL, *error = NULL;

	if (control_call(cl, verb, NULL, &result, &error) == 0)
		return result;
	json_decref(error);
	return NULL;
}

size_t services_find(const char *dir, const char *instance, struct found_service *out, size_t max)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; d && n < max && (e = readdir(d));) {
		size_t len = strlen(e->d_name);
		struct found_service *f = &out[n];

		if (len < 12 || len >= sizeof f->full || strncmp(e->d_name, "stile-", 6) != 0 || strcmp(e->d_name + len - 5, ".sock") != 0)
			continue;
		*f = (struct found_service){ 0 };
		snprintf(f->full, sizeof f->full, "%.*s", (int)(len - 5), e->d_name);
		snprintf(f->socket, sizeof f->socket, "%.380s/%s.sock", dir, f->full);
		n += strcmp(f->full, MANAGER_SUPERVISOR) != 0 && (!instance || is_instance(f->full, instance));
	}
	if (d)
		closedir(d);
	qsort(out, n, sizeof *out, by_name);
	return n;
}
