/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: lines that no stranger can forge or break, files that rotate, and a writer thread that
 * loses nothing in silence.
 *
 * Rendering is compared byte by byte; random bytes go through jansson, which must find them in a
 * valid object. Files live in a folder of the test; a size limit of the process stands for the full
 * disk, and the midnight test moves time, not the clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include "common/log_priv.h"

static const struct log_msg created = { "turn.alloc.created", LOG_LVL_INFO, "allocation created", NULL };
static const struct log_msg detail = { "turn.detail", LOG_LVL_DEBUG, "detail", NULL };
static const int64_t when = 1795254000123; /* 2026-11-21T09:40:00.123Z */

#define RENDER(buf, json, ...)                                                                     \
	log_render(buf, sizeof(buf), &created,                                                     \
		   (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .type = LF_END } }, when, json)
#define HEAD "2026-11-21T09:40:00.123Z info turn.alloc.created allocation created"

/* ---- rendering ---- */

static void a_line_has_time_level_id_text_and_fields(void **state)
{
	char buf[LOG_LINE_MAX];
	struct addr a = addr_v4(0xc0000207, 40000);
	(void)state;
	size_t n = RENDER(buf, false, LF_STR("user", "alice"), LF_ADDR("client", &a), LF_U64("n", UINT64_MAX), LF_I64("d", -5),
			  LF_BOOL("ok", true), LF_ERRNO("error", -ECONNREFUSED));
	assert_string_equal(buf, HEAD " user=alice client=192.0.2.7:40000 n=18446744073709551615 d=-5 ok=true "
				 "error=\"Connection refused\"");
	assert_int_equal(n, strlen(buf));
	RENDER(buf, false);
	assert_string_equal(buf, HEAD);
}

/* Advisory: format string. */
static void a_hostile_user_name_stays_one_safe_line(void **state)
{
	char buf[LOG_LINE_MAX];
	(void)state;
	RENDER(buf, false, LF_STR("user", "%s%n\n\x1b[2J\""));
	assert_string_equal(buf, HEAD " user=\"%s%n\\x0a\\x1b[2J\\\"\"");
	RENDER(buf, true, LF_STR("user", "%s%n\n\x1b[2J\""));
	assert_string_equal(buf, "{\"time\":\"2026-11-21T09:40:00.123Z\",\"level\":\"info\",\"id\":\"turn.alloc.created\","
				 "\"text\":\"allocation created\",\"user\":\"%s%n\\u000a\\u001b[2J\\\"\"}");
}

static void values_are_quoted_and_escaped_where_a_reader_could_be_fooled(void **state)
{
	static const struct {
		struct text value;
		const char *shown;
	} cases[] = {
		{ TEXT("plain-1.2_3/x@y:z"), "plain-1.2_3/x@y:z" },
		{ TEXT(""), "\"\"" },
		{ TEXT("a b"), "\"a b\"" },
		{ TEXT("a=b"), "\"a=b\"" },
		{ TEXT("a\\b"), "\"a\\\\b\"" },
		{ TEXT("a\tb\0c\x7f"), "\"a\\x09b\\x00c\\x7f\"" },
		{ TEXT("J\xc3\xb6rg"), "J\xc3\xb6rg" },
		{ TEXT("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80" },
		{ TEXT("a\xff" "b"), "\"a\\xffb\"" },
		{ TEXT("\xc3"), "\"\\xc3\"" },
		{ TEXT("\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80"), "\"\\xc0\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80\"" },
		{ TEXT("\xc2\x9b" "2J"), "\"\\xc2\\x9b2J\"" },		   /* CSI in one character */
		{ TEXT("\xe2\x80\xae" "moc"), "\"\\xe2\\x80\\xaemoc\"" }, /* right-to-left override */
		{ TEXT("\xe2\x80\xa8"), "\"\\xe2\\x80\\xa8\"" },	   /* line separator */
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char buf[LOG_LINE_MAX], expected[256];
		RENDER(buf, false, LF_TEXT("k", cases[i].value));
		snprintf(expected, sizeof(expected), HEAD " k=%s", cases[i].shown);
		assert_string_equal(buf, expected);
	}
}

static void absent_values_are_shown_as_absent(void **state)
{
	char buf[LOG_LINE_MAX];
	(void)state;
	RENDER(buf, false, LF_STR("a", NULL), LF_ADDR("b", NULL), LF_ERRNO("e", 0), LF_ERRNO("m", INT64_MIN));
	assert_string_equal(buf, HEAD " a=\"\" b=none e=Success m=Success");
}

static void long_values_and_long_lines_are_cut_with_a_mark(void **state)
{
	static char big[5000];
	char buf[LOG_LINE_MAX];
	struct log_field fields[21];
	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	size_t n = RENDER(buf, false, LF_STR("k", big), LF_STR("after", "y"));
	assert_true(n < sizeof(HEAD) + LOG_FIELD_MAX + 16);
	assert_non_null(strstr(buf, "xxx\xe2\x80\xa6\" after=y"));
	memset(big, 1, sizeof(big) - 1); /* four bytes each when escaped */
	assert_true(RENDER(buf, false, LF_STR("k", big)) <= sizeof(HEAD) + LOG_FIELD_MAX + 3);
	for (size_t i = 0; i < 20; i++)
		fields[i] = LF_STR("k", big);
	fields[20] = (struct log_field){ .type = LF_END };
	for (int json = 0; json < 2; json++) {
		n = log_render(buf, sizeof(buf), &created, fields, when, json);
		assert_true(n < sizeof(buf));
		assert_int_equal(strlen(buf), n);
		assert_string_equal(buf + n - (json ? 12 : 9), json ? ",\"cut\":true}" : " cut=true");
	}
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	return *x ^= *x << 5;
}

static void any_bytes_make_one_printable_line_and_one_valid_json_object(void **state)
{
	uint32_t x = 2463534242;
	(void)state;
	for (int round = 0; round < 3000; round++) {
		unsigned char bytes[700];
		char buf[LOG_LINE_MAX];
		size_t n = next_random(&x) % (round % 10 ? 40 : sizeof(bytes));
		for (size_t i = 0; i < n; i++)
			bytes[i] = (unsigned char)(next_random(&x) >> (round % 3 ? 8 : 27));
		struct text t = { (const char *)bytes, n };
		size_t len = RENDER(buf, false, LF_TEXT("k", t));
		assert_true(text_is_utf8((struct text){ buf, len }));
		for (size_t i = 0; i < len; i++)
			assert_true((unsigned char)buf[i] >= 0x20 && buf[i] != 0x7f);
		len = RENDER(buf, true, LF_TEXT("k", t), LF_U64("n", UINT64_MAX - (uint64_t)round), LF_I64("i", INT64_MIN));
		json_error_t e;
		json_t *j = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &e);
		if (!j)
			fail_msg("%s: %s", e.text, buf);
		assert_true(json_is_string(json_object_get(j, "k")));
		assert_int_equal(json_object_size(j), 7);
		json_decref(j);
	}
}

static void a_small_buffer_is_never_overrun(void **state)
{
	(void)state;
	for (size_t n = 0; n < 300; n++) {
		char *exact = malloc(n ? n : 1);
		const struct log_field f[] = { LF_STR("k", "some value\n"), { .type = LF_END } };
		assert_non_null(exact);
		assert_true(log_render(exact, n, &created, f, when, n % 2) < (n ? n : 1));
		free(exact);
	}
}

static void levels_have_names(void **state)
{
	enum log_level l;
	(void)state;
	for (int i = 0; i < LOG_LVL_COUNT; i++) {
		assert_int_equal(log_level_parse(text_of(log_level_name((enum log_level)i)), &l), 0);
		assert_int_equal(l, i);
	}
	assert_int_equal(log_level_parse(TEXT("loud"), &l), -EINVAL);
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/stile-log-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];
	(void)state;
	log_close();
	log_set_level(LOG_LVL_INFO);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char paths[4][160];
	static unsigned next;
	char *p = paths[next++ % ARRAY_LEN(paths)];
	snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
	return p;
}

/* The whole file; "" if it is not there. */
static const char *content(const char *name)
{
	static char buf[4 << 20];
	FILE *f = fopen(path_of(name), "r");
	size_t n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;
	if (f)
		fclose(f);
	buf[n] = 0;
	return buf;
}

static unsigned count_lines(const char *s)
{
	unsigned n = 0;
	while ((s = strchr(s, '\n'))) {
		n++;
		s++;
	}
	return n;
}

static bool exists(const char *name)
{
	return access(path_of(name), F_OK) == 0;
}

static struct log_config config_of(void)
{
	return (struct log_config){ .level = LOG_LVL_INFO, .dir = folder, .name = "stile-test@lab", .keep = 2 };
}

static void must_open(const struct log_config *c)
{
	char err[300] = "";
	if (log_open(c, err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

static void events_reach_the_file_at_their_level_and_json_if_wished(void **state)
{
	struct log_config c = config_of();
	(void)state;
	must_open(&c);
	log_emit(&created, LF_STR("user", "alice"));
	log_emit(&detail);
	assert_false(log_enabled(LOG_LVL_DEBUG));
	log_set_level(LOG_LVL_DEBUG);
	log_emit(&detail);
	log_flush();
	const char *text = content("stile-test@lab.log");
	assert_int_equal(count_lines(text), 2);
	assert_non_null(strstr(text, "Z info turn.alloc.created allocation created user=alice\n"));
	assert_non_null(strstr(text, "Z debug turn.detail detail\n"));
	c.json = true;
	must_open(&c); /* new settings on a log that runs */
	log_emit(&created);
	log_flush();
	text = content("stile-test@lab.log");
	assert_int_equal(count_lines(text), 3);
	assert_non_null(strstr(text, "\",\"level\":\"info\",\"id\":\"turn.alloc.created\",\"text\":\"allocation created\"}\n"));
}

static void a_folder_that_cannot_be_written_is_a_sentence(void **state)
{
	char err[300] = "", expected[300];
	struct log_config c = config_of();
	(void)state;
	c.dir = path_of("missing");
	assert_int_equal(log_open(&c, err, sizeof(err)), -ENOENT);
	snprintf(expected, sizeof(expected), "log.dir: cannot open the folder %s/missing: No such file or directory", folder);
	assert_string_equal(err, expected);
	assert_int_equal(log_check(&c, err, sizeof(err)), -ENOENT);
	c.dir = folder;
	assert_int_equal(log_check(&c, err, sizeof(err)), 0);
	assert_false(exists("stile-test@lab.log")); /* a check leaves nothing behind */
	assert_int_equal(symlink("/etc/passwd", path_of("stile-test@lab.log")), 0);
	assert_int_equal(log_open(&c, err, sizeof(err)), -ELOOP);
	assert_int_equal(log_check(&c, err, sizeof(err)), -EINVAL);
	unlink(path_of("stile-test@lab.log"));
	assert_int_equal(mkfifo(path_of("stile-test@lab.log"), 0600), 0);
	assert_int_not_equal(log_open(&c, err, sizeof(err)), 0);
	c.dir = NULL;
	assert_int_equal(log_check(&c, err, sizeof(err)), 0);
}

/* As the user nobody, for root may write everywhere. */
static void a_folder_without_permission_is_a_sentence(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(folder, 0755), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char err[300] = "";
		struct log_config c = config_of();
		bool good = setuid(65534) == 0 && log_open(&c, err, sizeof(err)) == -EACCES &&
			    strstr(err, "log.dir: cannot write to the folder ") && strstr(err, ": Permission denied") &&
			    log_check(&c, err, sizeof(err)) == -EACCES;
		_exit(good ? 0 : 1);
	}
	int status = -1;
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
}

static void a_file_that_root_makes_belongs_to_the_owner_of_the_folder(void **state)
{
	struct log_config c = config_of();
	struct stat st;
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(folder, 65534, 65534), 0);
	must_open(&c);
	assert_int_equal(stat(path_of("stile-test@lab.log"), &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void a_full_file_moves_on_and_only_so_many_are_kept(void **state)
{
	struct log_config c = config_of();
	(void)state;
	FILE *older = fopen(path_of("stile-test@lab.log.3"), "w"); /* from a time when more were kept */
	assert_non_null(older);
	fclose(older);
	c.max_size = 2000;
	must_open(&c);
	for (int i = 0; i < 200; i++)
		log_emit(&created, LF_I64("i", i));
	log_flush();
	struct stat st;
	static const char *const names[] = { "stile-test@lab.log", "stile-test@lab.log.1", "stile-test@lab.log.2" };
	int last = 199;
	for (size_t k = 0; k < ARRAY_LEN(names); k++) { /* newest first; each ends where the newer begins */
		char end[32];
		assert_int_equal(stat(path_of(names[k]), &st), 0);
		assert_true(st.st_size > 0 && st.st_size <= 2000);
		const char *text = content(names[k]);
		snprintf(end, sizeof(end), " i=%d\n", last);
		assert_string_equal(text + strlen(text) - strlen(end), end);
		last -= (int)count_lines(text);
	}
	assert_false(exists("stile-test@lab.log.3"));
}

static void with_keep_zero_the_file_starts_again(void **state)
{
	struct log_config c = config_of();
	(void)state;
	c.max_size = 500;
	c.keep = 0;
	must_open(&c);
	for (int i = 0; i < 50; i++)
		log_emit(&created, LF_I64("i", i));
	log_flush();
	assert_false(exists("stile-test@lab.log.1"));
	assert_non_null(strstr(content("stile-test@lab.log"), " i=49\n"));
	assert_true(strlen(content("stile-test@lab.log")) <= 500);
}

static void a_line_longer_than_the_limit_is_still_written(void **state)
{
	struct log_config c = config_of();
	(void)state;
	c.max_size = 10;
	must_open(&c);
	for (int i = 0; i < 3; i++)
		log_emit(&created, LF_I64("i", i));
	log_flush();
	assert_int_equal(count_lines(content("stile-test@lab.log")), 1);
	assert_non_null(strstr(content("stile-test@lab.log"), " i=2\n"));
	assert_non_null(strstr(content("stile-test@lab.log.2"), " i=0\n"));
}

static void reopening_follows_an_outside_rename_and_a_failed_one_keeps_the_old(void **state)
{
	struct log_config c = config_of();
	char err[300] = "";
	(void)state;
	must_open(&c);
	log_emit(&created, LF_I64("i", 1));
	log_flush();
	assert_int_equal(rename(path_of("stile-test@lab.log"), path_of("moved")), 0);
	log_emit(&created, LF_I64("i", 2));
	assert_int_equal(log_reopen(err, sizeof(err)), 0);
	log_emit(&created, LF_I64("i", 3));
	log_flush();
	/* What was emitted just before the reopening may stand in either file, once; later lines in the new one. */
	assert_int_equal(count_lines(content("moved")) + count_lines(content("stile-test@lab.log")), 3);
	assert_non_null(strstr(content("moved"), " i=1\n"));
	assert_non_null(strstr(content("stile-test@lab.log"), " i=3\n"));
	assert_int_equal(rename(path_of("stile-test@lab.log"), path_of("moved2")), 0);
	assert_int_equal(mkdir(path_of("stile-test@lab.log"), 0700), 0);
	assert_true(log_reopen(err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "log.dir: cannot write a log file in "));
	log_emit(&created, LF_I64("i", 4));
	log_flush();
	assert_non_null(strstr(content("moved2"), " i=4\n"));
	rmdir(path_of("stile-test@lab.log"));
}

static void the_file_is_emptied_and_the_old_ones_deleted_at_local_midnight(void **state)
{
	struct log_config c = config_of();
	_cleanup_(log_file_freep) struct log_file *f = NULL;
	char err[300] = "";
	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	c.delete_daily = true;
	c.max_size = 30;
	time_t evening = 1793573999; /* 2026-11-01 22:59:59 UTC is 23:59:59 in Berlin */
	assert_int_equal(log_file_new(&c, evening - 3600, &f, err, sizeof(err)), 0);
	log_file_write(f, "one one one one one\ntwo two two two two\nthree\n", 46, evening - 3600);
	assert_true(exists("stile-test@lab.log.1"));
	assert_int_equal(log_file_daily(f, evening), evening + 1);
	assert_true(exists("stile-test@lab.log.1"));
	assert_int_equal(log_file_daily(f, evening + 1), evening + 1 + 86400);
	assert_false(exists("stile-test@lab.log.1"));
	assert_string_equal(content("stile-test@lab.log"), "");
	log_file_write(f, "next day\n", 9, evening + 2);
	assert_string_equal(content("stile-test@lab.log"), "next day\n");
	/* The day on which summer time begins has 23 hours: 2027-03-28. */
	assert_int_equal(log_file_daily(f, 1806188400), 1806188400 + 23 * 3600);
	unsetenv("TZ");
	tzset();
}

static void a_start_on_a_later_day_deletes_what_the_last_one_left(void **state)
{
	struct log_config c = config_of();
	char err[300] = "";
	struct log_file *f = NULL;
	(void)state;
	assert_int_equal(log_file_new(&c, time(NULL), &f, err, sizeof(err)), 0);
	log_file_write(f, "old\n", 4, time(NULL));
	log_file_free(f);
	c.delete_daily = true;
	f = NULL;
	assert_int_equal(log_file_new(&c, time(NULL), &f, err, sizeof(err)), 0);
	log_file_free(f);
	assert_string_equal(content("stile-test@lab.log"), "old\n");
	f = NULL;
	assert_int_equal(log_file_new(&c, time(NULL) + 2 * 86400, &f, err, sizeof(err)), 0);
	log_file_free(f);
	assert_string_equal(content("stile-test@lab.log"), "");
}

/* ---- loss ---- */

/* stderr into a file of the folder for the time of a test, because failures are told there. */
static int stderr_to(const char *name)
{
	int saved = dup(STDERR_FILENO), fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return saved;
}

static void stderr_back(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

/* A size limit of the process behaves as a full disk does: short writes, then an error. */
static void a_full_disk_costs_whole_lines_which_are_counted_and_reported(void **state)
{
	struct log_config c = config_of();
	_cleanup_(log_file_freep) struct log_file *f = NULL;
	struct rlimit old, small;
	char err[300] = "";
	(void)state;
	assert_int_equal(log_file_new(&c, 1000, &f, err, sizeof(err)), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	int saved = stderr_to("stderr");
	small = (struct rlimit){ .rlim_cur = 14, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	log_file_write(f, "line 1\nline 2\nline 3\nline 4\n", 28, 1000);
	log_file_write(f, "line 5\n", 7, 1000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	stderr_back(saved);
	assert_string_equal(content("stile-test@lab.log"), "line 1\nline 2\n");
	log_file_write(f, "line 6\n", 7, 1000);
	assert_string_equal(content("stile-test@lab.log"),
			    "line 1\nline 2\n"
			    "1970-01-01T00:16:40.000Z warn log.lost log lines were lost lines=3\n"
			    "line 6\n");
	signal(SIGXFSZ, SIG_DFL);
}

static void half_a_line_is_taken_back(void **state)
{
	struct log_config c = config_of();
	_cleanup_(log_file_freep) struct log_file *f = NULL;
	struct rlimit old, small;
	char err[300] = "";
	(void)state;
	assert_int_equal(log_file_new(&c, 1000, &f, err, sizeof(err)), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	int saved = stderr_to("stderr");
	small = (struct rlimit){ .rlim_cur = 10, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	log_file_write(f, "line 1\nline 2\n", 14, 1000);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	stderr_back(saved);
	assert_string_equal(content("stile-test@lab.log"), "line 1\n");
	signal(SIGXFSZ, SIG_DFL);
}

enum { THREADS = 4, LINES = 3000 };

static void *emit_many(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_emit(&created, LF_STR("thread", arg), LF_I64("i", i), LF_STR("fill", "0123456789012345678901234567890123456789"));
	return NULL;
}

/* Every line is either there, whole and in its thread's order, or counted by a log.lost line. */
static void lines_of_many_threads_are_written_once_or_counted(void **state)
{
	struct log_config c = config_of();
	pthread_t threads[THREADS];
	static const char *const names[THREADS] = { "a", "b", "c", "d" };
	int next[THREADS] = { 0 };
	unsigned long lost = 0, seen = 0, n = 0;
	char err[300];
	(void)state;
	must_open(&c);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, emit_many, (void *)names[i]), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(log_reopen(err, sizeof(err)), 0);
		log_flush();
		log_set_level(i % 2 ? LOG_LVL_INFO : LOG_LVL_DEBUG);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_close();
	for (const char *p = content("stile-test@lab.log"), *nl; (nl = strchr(p, '\n')); p = nl + 1) {
		char name;
		int i;
		const char *found = strstr(p, " thread=");
		if (found && found < nl && sscanf(found, " thread=%c i=%d fill=", &name, &i) == 2) {
			assert_true(name >= 'a' && name < 'a' + THREADS && i >= next[name - 'a']);
			assert_int_equal(strncmp(nl - 5, "56789", 5), 0);
			next[name - 'a'] = i + 1;
			seen++;
		} else {
			found = strstr(p, "log.lost log lines were lost lines=");
			assert_true(found && found < nl && sscanf(found, "log.lost log lines were lost lines=%lu", &n) == 1);
			lost += n;
		}
	}
	assert_int_equal(seen + lost, THREADS * LINES);
	assert_true(seen > 0);
}

/* The writer hangs on a pipe that nobody reads, until the queue is full. */
static void a_stuck_reader_fills_the_queue_and_the_loss_is_reported(void **state)
{
	static char lines[4 << 20];
	struct log_config c = { .level = LOG_LVL_INFO, .name = "x" };
	int ends[2], saved = dup(STDERR_FILENO);
	size_t n = 0;
	unsigned long lost = 0, seen = 0;
	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	must_open(&c);
	for (int i = 0; i < 20000; i++) /* some 2 MB: more than both blocks and the pipe */
		log_emit(&created, LF_I64("i", i), LF_STR("fill", "0123456789012345678901234567890123456789"));
	/* The reader wakes up; closing stderr's last writer ends it. */
	pid_t pid = fork();
	if (pid == 0) {
		close(STDERR_FILENO);
		FILE *out = fopen(path_of("read"), "w");
		char buf[65536];
		for (ssize_t k; (k = read(ends[0], buf, sizeof(buf))) > 0;)
			fwrite(buf, 1, (size_t)k, out);
		fclose(out);
		_exit(0);
	}
	log_close();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(lines, sizeof(lines), "%s", content("read"));
	n = count_lines(lines);
	for (const char *p = lines; (p = strstr(p, "lines were lost lines=")); p++) {
		unsigned long k = strtoul(p + 22, NULL, 10);
		lost += k;
		n--;
	}
	seen = n;
	assert_true(lost > 0);
	assert_int_equal(seen + lost, 20000);
}

static void without_an_open_log_lines_go_to_stderr_at_once(void **state)
{
	(void)state;
	int saved = stderr_to("stderr");
	log_emit(&created, LF_STR("user", "early"));
	stderr_back(saved);
	assert_non_null(strstr(content("stderr"), " user=early\n"));
	assert_int_equal(count_lines(content("stderr")), 1);
}

static void the_journal_gets_priorities_and_nobody_else(void **state)
{
	struct log_config c = { .level = LOG_LVL_INFO, .name = "x" };
	struct stat st;
	char id[64];
	(void)state;
	int saved = stderr_to("stderr");
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	must_open(&c);
	log_emit(&created);
	log_close();
	snprintf(id, sizeof(id), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", id, 1);
	must_open(&c);
	log_emit(&created);
	log_close();
	unsetenv("JOURNAL_STREAM");
	must_open(&c);
	log_close();
	stderr_back(saved);
	const char *text = content("stderr"), *second = strchr(text, '\n') + 1;
	assert_int_equal(strncmp(text, "20", 2), 0);
	assert_int_equal(strncmp(second, "<6>20", 5), 0);
	assert_string_equal(log_priority(LOG_LVL_ERROR), "<3>");
}

int main(void)
{
#define IN_FOLDER(t) cmocka_unit_test_setup_teardown(t, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_time_level_id_text_and_fields),
		cmocka_unit_test(a_hostile_user_name_stays_one_safe_line),
		cmocka_unit_test(values_are_quoted_and_escaped_where_a_reader_could_be_fooled),
		cmocka_unit_test(absent_values_are_shown_as_absent),
		cmocka_unit_test(long_values_and_long_lines_are_cut_with_a_mark),
		cmocka_unit_test(any_bytes_make_one_printable_line_and_one_valid_json_object),
		cmocka_unit_test(a_small_buffer_is_never_overrun),
		cmocka_unit_test(levels_have_names),
		IN_FOLDER(events_reach_the_file_at_their_level_and_json_if_wished),
		IN_FOLDER(a_folder_that_cannot_be_written_is_a_sentence),
		IN_FOLDER(a_folder_without_permission_is_a_sentence),
		IN_FOLDER(a_file_that_root_makes_belongs_to_the_owner_of_the_folder),
		IN_FOLDER(a_full_file_moves_on_and_only_so_many_are_kept),
		IN_FOLDER(with_keep_zero_the_file_starts_again),
		IN_FOLDER(a_line_longer_than_the_limit_is_still_written),
		IN_FOLDER(reopening_follows_an_outside_rename_and_a_failed_one_keeps_the_old),
		IN_FOLDER(the_file_is_emptied_and_the_old_ones_deleted_at_local_midnight),
		IN_FOLDER(a_start_on_a_later_day_deletes_what_the_last_one_left),
		IN_FOLDER(a_full_disk_costs_whole_lines_which_are_counted_and_reported),
		IN_FOLDER(half_a_line_is_taken_back),
		IN_FOLDER(lines_of_many_threads_are_written_once_or_counted),
		IN_FOLDER(a_stuck_reader_fills_the_queue_and_the_loss_is_reported),
		IN_FOLDER(without_an_open_log_lines_go_to_stderr_at_once),
		IN_FOLDER(the_journal_gets_priorities_and_nobody_else),
	};
	umask(027); /* as services set it; the caller's may be anything */
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
