/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line that every service has, and its --help. Options that only one service has do
 * not exist: what is particular to it stands in its configuration. The strings of argv are borrowed
 * for the life of the process.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "common/service_priv.h"

#define DEFAULT_CONFIG "/etc/stile/stile.yaml"

static void print_help(const struct service_ops *ops)
{
	printf("%s %s: %s\n\n"
	       "Usage: %s [options]\n\n"
	       "  -c, --config FILE|DIR  configuration; default " DEFAULT_CONFIG "; of a folder its\n"
	       "                         stile.yaml, and the folder's name is the instance's\n"
	       "  --instance NAME        name of this instance; sets socket, store and log apart\n"
	       "  --runtime-dir DIR      folder of the control socket; default $RUNTIME_DIRECTORY,\n"
	       "                         /run/stile (root) or $XDG_RUNTIME_DIR/stile\n"
	       "  --user USER            whom to become after a start as root; default stile if there\n"
	       "                         is such a user, else nobody; root keeps the user, not its rights\n"
	       "  --check                check the configuration, show all errors, start nothing\n"
	       "  --version, --help\n\n",
	       ops->program, STILE_VERSION, ops->summary, ops->program);
	printf("It runs in the foreground, ready for systemd (Type=notify, watchdog).\n\n"
	       "Signals:\n"
	       "  TERM, INT   stop: nothing new is taken on, what runs has a limit to end (10 s); a\n"
	       "              second one stops at once\n"
	       "  HUP         reopen the log and reload the configuration; a bad one changes nothing\n"
	       "              (the reason is in the log and in `stile status`)\n\n"
	       "Files (NAME is %s or %s@INSTANCE):\n"
	       "  conf.d/*.yaml beside the configuration   merged into it in the order of their names\n"
	       "  <runtime dir>/NAME.sock                  control socket, for `stile` and the console\n"
	       "  <store.path>/NAME.db                     what is changed while it runs\n"
	       "  <log.dir>/NAME.log                       log; stderr if log.dir is not set\n"
	       "Started as root, it makes missing folders and gives them to its user. Keys are read\n"
	       "before root is given up, again at a reload: then USER must be able to read them.\n\n"
	       "Exit codes:\n"
	       "  0  stopped cleanly (--check: the configuration is good)\n"
	       "  1  the start failed, or a second signal cut the stop short\n"
	       "  2  bad command line or configuration\n"
	       "  3  to be started again: a change was rolled back that only a restart takes back\n",
	       ops->program, ops->program);
}

enum { OPT_INSTANCE = 256, OPT_RUNTIME_DIR, OPT_USER, OPT_CHECK, OPT_VERSION, OPT_HELP };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "instance", required_argument, NULL, OPT_INSTANCE },
	{ "runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR },
	{ "user", required_argument, NULL, OPT_USER },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int take_option(const struct service_ops *ops, int option, struct service_args *a)
{
	switch (option) {
	case 'c':
		a->config = optarg;
		return 0;
	case OPT_INSTANCE:
		a->instance = optarg;
		return 0;
	case OPT_RUNTIME_DIR:
		a->runtime_dir = optarg;
		return 0;
	case OPT_USER:
		a->user = optarg;
		return 0;
	case OPT_CHECK:
		a->check = true;
		return 0;
	case OPT_VERSION:
		printf("%s %s\n", ops->program, STILE_VERSION);
		return 1;
	case OPT_HELP:
		print_help(ops);
		return 1;
	default: /* getopt has said what is wrong */
		return -EINVAL;
	}
}

/* The long option that a misspelt one is nearest to; NULL if none is near. */
static const char *meant(const char *wrong)
{
	const char *best = NULL;
	size_t best_d = 3;
	struct text name = text_of(wrong);

	if (!text_starts(name, TEXT("--")))
		return NULL;
	name = text_drop(name, 2);
	name = text_cut(&name, '=');
	for (size_t i = 0; long_options[i].name; i++) {
		size_t d = text_distance(name, text_of(long_options[i].name));
		if (d > 0 && d < best_d) {
			best = long_options[i].name;
			best_d = d;
		}
	}
	return best;
}

/* A folder is a whole installation of its own: DIR/stile.yaml, instance DIR. Both live as long as the process. */
static int take_folder(const struct service_ops *ops, struct service_args *a)
{
	static char path[4096], name[64];
	int r = instance_folder(a->config, path, sizeof(path), name, sizeof(name));

	if (r == -ENAMETOOLONG && (!*path || !a->instance)) {
		fprintf(stderr, "%s: the folder's name is too long: give --config FILE and --instance\n", ops->program);
		return -EINVAL;
	}
	if (r == 0)
		return 0;
	a->config = path;
	a->instance = a->instance ? a->instance : name;
	return 0;
}

int service_parse_args(const struct service_ops *ops, int argc, char **argv, struct service_args *ret_a)
{
	struct service_args a = { .config = DEFAULT_CONFIG };
	int option, r;

	optind = 1;
	while ((option = getopt_long(argc, argv, "c:", long_options, NULL)) != -1) {
		r = take_option(ops, option, &a);
		if (r < 0) {
			const char *best = meant(argv[optind - 1]);
			fprintf(stderr, "%s%s%sTry `%s --help`.\n", best ? "Did you mean --" : "", best ? best : "",
				best ? "? " : "", ops->program);
		}
		if (r != 0)
			return r;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: there is no argument \"%s\"; try --help\n", ops->program, argv[optind]);
		return -EINVAL;
	}
	r = take_folder(ops, &a);
	if (r == 0)
		*ret_a = a;
	return r;
}
