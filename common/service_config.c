/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration that every service has, and how it is loaded: the sections log and store, the
 * service's own checks, and what can only be known by looking at the machine (a log folder that
 * cannot be written). The start, a reload, --check and `stile check` all come through here, so
 * they cannot differ.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/service_priv.h"

static const char *const log_levels[] = { "error", "warn", "info", "debug", "trace", NULL };
static const char *const log_formats[] = { "text", "json", NULL };

static const struct cfg_row log_rows[] = {
	{ .name = "level", .type = &cfg_enum, CFG_AT(struct log_section, level), .flags = CFG_RELOAD,
	  .choices = log_levels, .def = "info", .help = "Events of this weight and heavier are logged." },
	{ .name = "dir", .type = &cfg_path, CFG_AT(struct log_section, dir), .flags = CFG_RELOAD,
	  .help = "Folder of the log file <program>[@instance].log; without it lines go to stderr." },
	{ .name = "max_size", .type = &cfg_size, CFG_AT(struct log_section, max_size), .flags = CFG_RELOAD,
	  .min = 64 << 10, .max = 1ull << 40, .def = "10MB", .unit = "bytes",
	  .help = "A log file of this size is put aside and a new one begun." },
	{ .name = "keep", .type = &cfg_u64, CFG_AT(struct log_section, keep), .flags = CFG_RELOAD, .min = 1,
	  .max = 1000, .def = "5", .unit = "files", .help = "How many files that were put aside are kept." },
	{ .name = "delete_daily", .type = &cfg_bool, CFG_AT(struct log_section, delete_daily),
	  .flags = CFG_RELOAD, .def = "false",
	  .help = "Delete the log at midnight, for places where it may not be kept." },
	{ .name = "format", .type = &cfg_enum, CFG_AT(struct log_section, format), .flags = CFG_RELOAD,
	  .choices = log_formats, .def = "text", .help = "One line per event as text or as a JSON object." },
};
const struct cfg_schema cfg_log_schema = { "log", log_rows, ARRAY_LEN(log_rows), sizeof(struct log_section) };

void log_section_config(const struct log_section *l, struct log_config *ret_lc)
{
	*ret_lc = (struct log_config){ .level = l->level,
				       .dir = l->dir,
				       .max_size = l->max_size,
				       .keep = (unsigned)l->keep,
				       .delete_daily = l->delete_daily,
				       .json = l->format };
}

static const struct cfg_row store_rows[] = {
	{ .name = "path", .type = &cfg_path, CFG_AT(struct store_section, path), .def = "/var/lib/stile",
	  .help = "Folder of the database <program>[@instance].db with what is changed while running." },
};
const struct cfg_schema cfg_store_schema = { "store", store_rows, ARRAY_LEN(store_rows),
					     sizeof(struct store_section) };

struct log_config service_log_config(const struct service_ops *ops, const char *name, const struct cfg *c)
{
	struct log_config lc = { 0 };

	ops->log_config(cfg_values(c), &lc);
	lc.name = name;
	return lc;
}

/* Where the log folder was set: the service's own section, or the common one. */
static const char *log_dir_key(const struct service_ops *ops, const struct cfg *c, char *key, size_t n)
{
	const char *section = strncmp(ops->program, "stile-", 6) == 0 ? ops->program + 6 : ops->program;
	const char *file;
	unsigned line;

	snprintf(key, n, "%s.log.dir", section);
	if (!cfg_where(c, key, &file, &line))
		snprintf(key, n, "log.dir");
	return key;
}

const char *service_default_user(void)
{
	struct account a;
	char err[128];

	return account_find("stile", NULL, &a, err, sizeof(err)) == 0 ? "stile" : "nobody";
}

static int check_log(const struct log_config *lc, const char *user, char *err, size_t err_n)
{
	struct account a = { 0 };
	int r = 0;

	if (geteuid() == 0) /* else nobody becomes anybody */
		r = account_find(user ? user : service_default_user(), NULL, &a, err, err_n);
	if (r == 0)
		r = service_dir_usable(lc->dir, &a, err, err_n);
	if (r < 0 || access(lc->dir, F_OK) < 0) /* not there: the start makes it */
		return r;
	r = privileges_borrow(&a, err, err_n);
	if (r == 0)
		r = log_check(lc, err, err_n);
	privileges_return();
	return r;
}

struct readers {
	struct account account;
	char first[512]; /* file that he may not read */
	unsigned n;
};

static void on_file(const char *path, void *arg)
{
	struct readers *rs = arg;
	char err[128];
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || privileges_borrow(&rs->account, err, sizeof(err)) < 0)
		return;
	if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0 && errno == EACCES && rs->n++ == 0)
		snprintf(rs->first, sizeof(rs->first), "%s", path);
	privileges_return();
}

void service_check_files(const struct service_ops *ops, const char *user, struct cfg *c)
{
	struct readers rs = { .n = 0 };
	const struct group *gr;
	char err[128], more[40] = "";

	if (geteuid() != 0 || strncmp(ops->program, "stile-", 6) != 0 ||
	    account_find(user ? user : service_default_user(), NULL, &rs.account, err, sizeof(err)) < 0)
		return;
	cfg_name_files(c, on_file, &rs);
	if (!rs.n)
		return;
	if (rs.n > 1)
		snprintf(more, sizeof(more), " and %u more file%s", rs.n - 1, rs.n == 2 ? "" : "s");
	gr = getgrgid(rs.account.gid);
	cfg_add_warning(c, ops->program + 6, "the user %s may not read %s%s: its unit would not start, and a reload is refused; "
			"chgrp %s and chmod g+r (g+x of folders above) let it", rs.account.name, rs.first, more,
			gr ? gr->gr_name : rs.account.name);
}

void service_check(const struct service_ops *ops, const char *user, struct cfg *c)
{
	struct log_config lc = service_log_config(ops, ops->program, c);
	char key[64], err[384] = "";

	if (ops->check)
		ops->check(c);
	if (lc.dir && *lc.dir && check_log(&lc, user, err, sizeof(err)) < 0)
		cfg_add_error(c, log_dir_key(ops, c, key, sizeof(key)), "%s", err);
}

int service_load(const struct service_ops *ops, const char *user, const char *path, const json_t *settings, struct cfg **ret_cfg)
{
	int r;

	*ret_cfg = NULL;
	r = cfg_load_over(path, ops->config, settings, ret_cfg);
	if (r < 0)
		return r;
	service_check(ops, user, *ret_cfg);
	return cfg_n_errors(*ret_cfg) ? -EINVAL : 0;
}
