/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay leaves on disk: connection log, data logs, their limits. Time is given, the disk is real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "tests/unit/support.h"
#include "tunnel/records_priv.h"

/* 2000-08-20 00:18:35 UTC; the tests' local time is UTC. */
enum { SECOND = 1000 };
static const int64_t then = 966730715LL * SECOND;

static struct support_dir dir;

static int setup(void **state)
{
	(void)state;
	support_dir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	support_dir_remove(&dir);
	return 0;
}

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(s), 0, &a), 0);
	return a;
}

static struct records *start(struct records_options o)
{
	struct records *rec = NULL;
	char err[256] = "";

	o.dir = dir.path;
	assert_int_equal(records_new(&o, err, sizeof err, &rec), 0);
	return rec;
}

/* A whole file, or NULL; to be freed. */
static char *slurp(const char *name, size_t *ret_n)
{
	FILE *f = fopen(support_path(&dir, name), "r");
	char *p = calloc(1, 4 << 20);
	size_t n = f ? fread(p, 1, (4 << 20) - 1, f) : 0;

	if (!f) {
		free(p);
		return NULL;
	}
	fclose(f);
	if (ret_n)
		*ret_n = n;
	return p;
}

static void expect_file(const char *name, const char *what)
{
	char *p = slurp(name, NULL);

	assert_non_null(p);
	assert_string_equal(p, what);
	free(p);
}

static struct records_figures figures(struct records *rec)
{
	struct records_figures f;

	records_figures(rec, &f);
	return f;
}

static struct record opened(const char *source, const char *target)
{
	return (struct record){ .kind = RECORD_OPENED, .id = 7, .protocol = "tcp", .route = "telnet", .source = at(source),
				.listener = at("0.0.0.0:1001"), .target = at(target) };
}

/* ---- connection log ---- */

static void a_connection_is_a_line_in_the_layout_of_the_original(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true });
	struct record r = opened("127.0.0.1:4356", "192.168.1.3:23");

	(void)state;
	records_connection(rec, &r, then);
	r.kind = RECORD_ENDED;
	records_connection(rec, &r, then + 5 * SECOND);
	records_free(rec);
	expect_file("CO000820.LOG", "2000/08/20 00:18:35 Connection from 127.0.0.1:4356 to 192.168.1.3:23\n");
	assert_null(slurp("CO000820.jsonl", NULL));
}

static void a_line_belongs_to_the_local_day_of_its_own_time(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");
	int64_t midnight = then - 18 * 60 * SECOND - 35 * SECOND;

	(void)state;
	records_connection(rec, &r, midnight - 1);
	records_connection(rec, &r, midnight);
	records_connection(rec, &r, midnight - 1); /* another worker was a moment late */
	records_free(rec);
	expect_file("CO000819.LOG", "2000/08/19 23:59:59 Connection from 127.0.0.1:1 to 192.168.1.3:23\n"
				    "2000/08/19 23:59:59 Connection from 127.0.0.1:1 to 192.168.1.3:23\n");
	expect_file("CO000820.LOG", "2000/08/20 00:00:00 Connection from 127.0.0.1:1 to 192.168.1.3:23\n");
}

static void midnight_is_the_local_one(void **state)
{
	struct records *rec;
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");

	(void)state;
	setenv("TZ", "XXX-02:00", 1);
	tzset();
	rec = start((struct records_options){ .connections = true });
	records_connection(rec, &r, then - 2 * 3600 * SECOND); /* 22:18 UTC, 00:18 here */
	records_free(rec);
	setenv("TZ", "UTC", 1);
	tzset();
	expect_file("CO000820.LOG", "2000/08/20 00:18:35 Connection from 127.0.0.1:1 to 192.168.1.3:23\n");
}

static json_t *only_line(const char *name)
{
	char *p = slurp(name, NULL);
	json_error_t e;

	assert_non_null(p);
	assert_ptr_equal(strchr(p, '\n'), p + strlen(p) - 1);
	json_t *j = json_loads(p, 0, &e);
	assert_non_null(j);
	free(p);
	return j;
}

static const char *member(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static void a_json_line_tells_end_duration_bytes_and_reason(void **state)
{
	struct records *rec = start((struct records_options){ .connections_json = true });
	struct record r = opened("127.0.0.1:4356", "192.168.1.3:23");

	(void)state;
	r.kind = RECORD_ENDED;
	r.opened_at = then;
	r.bytes_up = 12;
	r.bytes_down = 3456;
	r.reason = "the target closed it";
	r.source_name = "host.example";
	r.target_name = "telnet.intra";
	records_connection(rec, &r, then + 90 * SECOND);
	records_free(rec);
	assert_null(slurp("CO000820.LOG", NULL));
	json_t *j = only_line("CO000820.jsonl");
	assert_string_equal(member(j, "id"), "relay.connection.ended");
	assert_string_equal(member(j, "time"), "2000-08-20T00:20:05.000Z");
	assert_string_equal(member(j, "source"), "127.0.0.1:4356");
	assert_string_equal(member(j, "source_name"), "host.example");
	assert_string_equal(member(j, "listener"), "0.0.0.0:1001");
	assert_string_equal(member(j, "target"), "192.168.1.3:23");
	assert_string_equal(member(j, "target_name"), "telnet.intra");
	assert_string_equal(member(j, "route"), "telnet");
	assert_string_equal(member(j, "reason"), "the target closed it");
	assert_non_null(member(j, "node"));
	assert_int_equal(json_integer_value(json_object_get(j, "connection")), 7);
	assert_int_equal(json_integer_value(json_object_get(j, "duration_ms")), 90000);
	assert_int_equal(json_integer_value(json_object_get(j, "bytes_up")), 12);
	assert_int_equal(json_integer_value(json_object_get(j, "bytes_down")), 3456);
	json_decref(j);
}

static void a_refused_attempt_is_there_and_a_strangers_name_is_escaped(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true, .connections_json = true });
	struct record r = { .kind = RECORD_REFUSED, .source = at("203.0.113.9:1"), .reason = "not among the allowed sources",
			    .source_name = "a\"b\n\x1b[2J\xff.example" };

	(void)state;
	records_connection(rec, &r, then);
	records_free(rec);
	assert_null(slurp("CO000820.LOG", NULL));
	json_t *j = only_line("CO000820.jsonl");
	assert_string_equal(member(j, "id"), "relay.connection.refused");
	assert_string_equal(member(j, "source_name"), "a\"b\n\x1b[2J\\xff.example");
	assert_null(json_object_get(j, "target"));
	json_decref(j);
}

/* Whoever is refused costs nothing to be refused again, and a datagram's source may be forged. */
static void a_flood_of_refusals_fills_no_disk_and_hides_no_connection(void **state)
{
	struct records *rec = start((struct records_options){ .connections_json = true });
	struct record refused = { .kind = RECORD_REFUSED, .source = at("203.0.113.9:1"), .protocol = "udp" },
		      good = opened("127.0.0.1:1", "192.168.1.3:23");

	(void)state;
	for (unsigned i = 0; i < 10 * RECORDS_REFUSED_PER_S; i++)
		records_connection(rec, &refused, then);
	records_connection(rec, &good, then);
	records_flush(rec);
	assert_int_equal(figures(rec).lines, RECORDS_REFUSED_PER_S + 1);
	assert_int_equal(figures(rec).lines_lost, 9 * RECORDS_REFUSED_PER_S);
	records_connection(rec, &refused, then + SECOND);
	records_flush(rec);
	assert_int_equal(figures(rec).lines, RECORDS_REFUSED_PER_S + 2);
	records_free(rec);
}

enum { NODES = 4, LINES_EACH = 2000 };

static void nodes_that_share_a_folder_do_not_clobber_each_other(void **state)
{
	char *p, *line, *next;
	unsigned n = 0, of[NODES] = { 0 };
	size_t size;

	(void)state;
	for (unsigned i = 0; i < NODES; i++)
		if (fork() == 0) {
			struct records *rec = start((struct records_options){ .connections = true });
			struct record r = opened("127.0.0.1:1", "192.168.1.3:23");
			addr_set_port(&r.source, (uint16_t)(i + 1));
			for (unsigned k = 0; k < LINES_EACH; k++)
				records_connection(rec, &r, then);
			records_free(rec);
			_exit(0);
		}
	for (unsigned i = 0; i < NODES; i++) {
		int status;
		assert_true(wait(&status) > 0 && status == 0);
	}
	p = slurp("CO000820.LOG", &size);
	for (line = p; (next = memchr(line, '\n', (size_t)(p + size - line))); line = next + 1, n++) {
		unsigned port = 0;
		char end = 0;
		*next = 0;
		assert_int_equal(sscanf(line, "2000/08/20 00:18:35 Connection from 127.0.0.1:%u to 192.168.1.3:2%c", &port, &end), 2);
		assert_true(port >= 1 && port <= NODES && end == '3');
		of[port - 1]++;
	}
	free(p);
	for (unsigned i = 0; i < NODES; i++)
		assert_int_equal(of[i], LINES_EACH);
}

static void a_file_that_was_moved_away_is_made_again(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");

	(void)state;
	records_connection(rec, &r, then);
	records_flush(rec);
	assert_int_equal(unlink(support_path(&dir, "CO000820.LOG")), 0);
	records_connection(rec, &r, then);
	records_free(rec);
	expect_file("CO000820.LOG", "2000/08/20 00:18:35 Connection from 127.0.0.1:1 to 192.168.1.3:23\n");
}

static void a_line_that_cannot_be_written_is_counted_and_the_next_is_tried(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");
	struct records_figures f;

	(void)state;
	assert_int_equal(mkdir(support_path(&dir, "CO000820.LOG"), 0700), 0);
	records_connection(rec, &r, then);
	records_flush(rec);
	f = figures(rec);
	assert_int_equal(f.lines, 0);
	assert_int_equal(f.lines_lost, 1);
	assert_int_equal(rmdir(support_path(&dir, "CO000820.LOG")), 0);
	records_connection(rec, &r, then);
	records_flush(rec);
	assert_int_equal(figures(rec).lines, 1);
	records_free(rec);
}

/* ---- settings ---- */

static void settings_change_live_and_a_bad_folder_changes_nothing(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");
	struct records_options o = { .dir = "/nonexistent/records" };
	char err[256];

	(void)state;
	assert_int_equal(records_configure(rec, &o, err, sizeof err), -ENOENT);
	assert_non_null(strstr(err, "/nonexistent/records"));
	records_connection(rec, &r, then);
	o.dir = dir.path; /* and nothing to be recorded */
	assert_int_equal(records_configure(rec, &o, err, sizeof err), 0);
	records_connection(rec, &r, then);
	records_flush(rec);
	assert_int_equal(figures(rec).lines, 1);
	o = (struct records_options){ 0 }; /* no folder */
	struct data_log *d;
	assert_int_equal(records_configure(rec, &o, err, sizeof err), 0);
	assert_int_equal(data_log_open(rec, &(struct data_log_options){ .id = 1 }, then, &d), -ENOENT);
	records_free(rec);
}

static void make_old(const char *name)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - 3 * 86400 }, { .tv_sec = time(NULL) - 3 * 86400 } };

	support_write(&dir, name, "old");
	assert_int_equal(utimensat(AT_FDCWD, support_path(&dir, name), t, 0), 0);
}

static void files_past_their_age_are_removed_and_no_others(void **state)
{
	static const char *const ours[] = { "CO261118.LOG", "CO261118.jsonl", "RL26111813040000.LOG", "RL261118130400123.LOG" };
	static const char *const others[] = { "CO261118.LOG.gz", "COMMENT.LOG", "RLX.LOG", "notes.txt", "RL2611.LOG", "XCO261118.LOG" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		make_old(ours[i]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		make_old(others[i]);
	support_write(&dir, "CO261121.LOG", "young");
	struct records *rec = start((struct records_options){ .connections = true, .keep_ms = 2ULL * 86400 * SECOND });
	records_flush(rec);
	records_free(rec);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		assert_int_equal(access(support_path(&dir, ours[i]), F_OK), -1);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(access(support_path(&dir, others[i]), F_OK), 0);
	assert_int_equal(access(support_path(&dir, "CO261121.LOG"), F_OK), 0);
}

/* A line every 50 ms: the writer is never without work for as long as it waits between two looks. */
static void files_past_their_age_are_removed_while_there_is_work_too(void **state)
{
	struct records *rec = start((struct records_options){
		.connections = true, .keep_ms = 2ULL * 86400 * SECOND, .sweep_ms = 200 });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");

	(void)state;
	records_flush(rec);
	make_old("CO261118.LOG");
	for (unsigned i = 0; i < 400 && access(support_path(&dir, "CO261118.LOG"), F_OK) == 0; i++) {
		records_connection(rec, &r, then);
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000 }, NULL);
	}
	assert_int_equal(access(support_path(&dir, "CO261118.LOG"), F_OK), -1);
	records_free(rec);
}

/* ---- data logs ---- */

struct conn {
	struct loop *loop;
	struct data_log *log;
	bool room;
};

static void on_room(void *arg)
{
	((struct conn *)arg)->room = true;
}

static struct data_log *open_log(struct records *rec, struct conn *c, uint64_t id)
{
	struct data_log_options o = { .loop = c->loop, .room = on_room, .arg = c, .id = id, .route = "smtp",
				      .source = at("192.0.2.7:40000"), .target = at("10.3.100.14:25"),
				      .source_name = "evil\n\x1b]0;.example" };

	assert_int_equal(data_log_open(rec, &o, then, &c->log), 0);
	return c->log;
}

static void a_data_log_shows_each_packet_in_hex_and_text(void **state)
{
	struct records *rec = start((struct records_options){ 0 });
	struct conn c = { 0 };
	struct data_log *d = open_log(rec, &c, 17);
	struct stat st;
	char name[32];

	(void)state;
	assert_int_equal(data_log_packet(d, DATA_LOG_UP, "HELO example.org\r\n", 18, then + 123), 0);
	assert_int_equal(data_log_packet(d, DATA_LOG_DOWN, "\x00\xff|~", 4, then + 200), 0);
	assert_int_equal(data_log_packet(d, DATA_LOG_UP, "Q", 1, then + 300), 0);
	records_flush(rec);
	data_log_name(d, name, sizeof name);
	assert_string_equal(name, "RL000820001800.LOG");
	data_log_close(d, "the source closed it", then + 1000);
	records_free(rec);
	assert_int_equal(stat(support_path(&dir, name), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	expect_file(name,
		    "Connection 17 from 192.0.2.7:40000 (evil\\x0a\\x1b]0;.example) to 10.3.100.14:25, route smtp, "
		    "log begun 2000/08/20 00:18:35.000\n\n"
		    "2000/08/20 00:18:35.123 Packet from 192.0.2.7:40000 to 10.3.100.14:25, 18 bytes\n"
		    "00000000  48 45 4c 4f 20 65 78 61  6d 70 6c 65 2e 6f 72 67  |HELO example.org|\n"
		    "00000010  0d 0a                                             |..|\n"
		    "2000/08/20 00:18:35.200 Packet from 10.3.100.14:25 to 192.0.2.7:40000, 4 bytes\n"
		    "00000000  00 ff 7c 7e                                       |..|~|\n"
		    "2000/08/20 00:18:35.300 Packet from 192.0.2.7:40000 to 10.3.100.14:25, 1 byte\n"
		    "00000012  51                                                |Q|\n"
		    "2000/08/20 00:18:36.000 End: the source closed it\n");
}

static void no_data_log_ever_writes_to_another_ones_file(void **state)
{
	struct records *rec = start((struct records_options){ 0 });
	struct conn c[110] = { 0 };
	char name[32];

	(void)state;
	support_write(&dir, "RL000820001800.LOG", "of another node");
	support_write(&dir, "RL000820001802.LOG", "of another node");
	assert_int_equal(symlink("/etc/passwd", support_path(&dir, "RL000820001803.LOG")), 0);
	for (unsigned i = 0; i < ARRAY_LEN(c); i++)
		open_log(rec, &c[i], i);
	records_flush(rec);
	data_log_name(c[0].log, name, sizeof name);
	assert_string_equal(name, "RL000820001801.LOG");
	data_log_name(c[1].log, name, sizeof name);
	assert_string_equal(name, "RL000820001804.LOG");
	data_log_name(c[109].log, name, sizeof name);
	assert_string_equal(name, "RL0008200018112.LOG"); /* more digits */
	for (unsigned i = 0; i < ARRAY_LEN(c); i++)
		data_log_close(c[i].log, NULL, then);
	records_free(rec);
	expect_file("RL000820001800.LOG", "of another node");
	expect_file("RL000820001802.LOG", "of another node");
}

/* Two hex digits of each byte of each line, back into bytes; checks that each head line tells the truth. */
static size_t read_back(const char *p, size_t n_text, uint8_t *out, size_t cap)
{
	size_t n = 0, left = 0;

	for (const char *end = p + n_text, *next; (next = memchr(p, '\n', (size_t)(end - p))); p = next + 1) {
		char line[HEX_HEAD_MAX];
		size_t len = MIN((size_t)(next - p), sizeof line - 1);
		memcpy(line, p, len);
		line[len] = 0;
		if (strstr(line, " Packet from ")) {
			assert_int_equal(left, 0);
			assert_int_equal(sscanf(strchr(line, ','), ", %zu byte", &left), 1);
		} else if (left) {
			assert_int_equal(strtoull(line, NULL, 16), n);
			for (unsigned i = 0; i < HEX_PER_LINE && left && n < cap; i++, left--)
				out[n++] = (uint8_t)strtoul(line + 10 + 3 * i + i / 8, NULL, 16);
		}
	}
	assert_int_equal(left, 0);
	return n;
}

enum { PACKET = 65536, MANY = 12 };

static void every_byte_is_there_and_who_is_too_fast_waits_alone(void **state)
{
	struct records *rec = start((struct records_options){ 0 });
	static uint8_t sent[PACKET * MANY], got[PACKET * MANY];
	struct conn fast = { 0 }, slow = { 0 };
	unsigned waits = 0;
	size_t n_text;
	char name[32], *p;

	(void)state;
	assert_int_equal(loop_new(&fast.loop), 0);
	slow.loop = fast.loop;
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 2654435761u >> 13);
	open_log(rec, &fast, 1);
	open_log(rec, &slow, 2);
	for (unsigned i = 0; i < MANY;) {
		int r = data_log_packet(fast.log, DATA_LOG_UP, sent + i++ * PACKET, PACKET, then);
		if (r == 0)
			continue;
		assert_int_equal(r, DATA_LOG_WAIT);
		waits++;
		assert_int_equal(data_log_packet(slow.log, DATA_LOG_DOWN, "x", 1, then), 0);
		fast.room = false;
		support_run_until(fast.loop, &fast.room, 10000);
	}
	assert_true(waits > 0);
	assert_int_equal(figures(rec).waits, waits);
	records_flush(rec);
	assert_int_equal(figures(rec).data_bytes, sizeof sent + waits);
	data_log_name(fast.log, name, sizeof name);
	data_log_close(fast.log, NULL, then);
	data_log_close(slow.log, NULL, then);
	records_free(rec);
	loop_free(fast.loop);
	p = slurp(name, &n_text);
	assert_int_equal(read_back(p, n_text, got, sizeof got), sizeof sent);
	assert_memory_equal(got, sent, sizeof sent);
	free(p);
}

static void close_while_waiting(unsigned n_round)
{
	struct records *rec = start((struct records_options){ 0 });
	static const uint8_t packet[PACKET];
	struct conn c = { 0 };
	unsigned i = 0;

	assert_int_equal(loop_new(&c.loop), 0);
	open_log(rec, &c, 1);
	while (data_log_packet(c.log, DATA_LOG_UP, packet, sizeof packet, then) == 0 && i < 1000)
		i++;
	if (n_round % 2)
		records_flush(rec); /* room() is on its way */
	data_log_close(c.log, "kicked", then);
	records_free(rec);
	support_run_for(c.loop, 1);
	assert_false(c.room);
	loop_free(c.loop);
}

static void a_closed_connection_gets_no_room_and_leaves_nothing(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		close_while_waiting(i);
}

/* ---- limits ---- */

static void expect_stop(struct records *rec, struct data_log *d, enum data_log_stop why)
{
	records_flush(rec);
	assert_int_equal(data_log_packet(d, DATA_LOG_UP, "x", 1, then), DATA_LOG_STOPPED);
	assert_string_equal(data_log_why(d), data_log_stop_text(why));
	assert_int_equal(figures(rec).stops[why], 1);
}

static void a_data_log_ends_in_whole_lines_at_its_size_limit(void **state)
{
	struct records *rec = start((struct records_options){ .data_max_size = 2000 });
	static const uint8_t packet[4096];
	struct conn c = { 0 };
	struct data_log *d = open_log(rec, &c, 1);
	char *p;
	size_t n;

	(void)state;
	assert_int_equal(data_log_packet(d, DATA_LOG_UP, packet, sizeof packet, then), 0);
	expect_stop(rec, d, DATA_LOG_SIZE);
	data_log_close(d, "end", then);
	records_free(rec);
	p = slurp("RL000820001800.LOG", &n);
	assert_true(n > 1800 && n < 2100);
	const char *note = strstr(p, "Logging stopped: its file has reached the size limit\n");
	assert_non_null(note);
	assert_int_equal(note[-1], '\n');
	assert_int_equal(note[-2], '|');
	assert_string_equal(strchr(note, '\n'), "\n");
	free(p);
}

static void at_the_floor_of_free_space_data_logs_stop_and_the_connection_log_goes_on(void **state)
{
	struct records *rec = start((struct records_options){ .connections = true, .data_floor = UINT64_MAX });
	struct record r = opened("127.0.0.1:1", "192.168.1.3:23");
	struct conn c = { 0 };
	struct data_log *d = open_log(rec, &c, 1);

	(void)state;
	expect_stop(rec, d, DATA_LOG_FLOOR);
	assert_null(slurp("RL000820001800.LOG", NULL));
	records_connection(rec, &r, then);
	records_flush(rec);
	assert_int_equal(figures(rec).lines, 1);
	data_log_close(d, NULL, then);
	/* Room again: the next one is logged. */
	char err[128];
	struct records_options o = { .dir = dir.path, .data_floor = 1 };
	assert_int_equal(records_configure(rec, &o, err, sizeof err), 0);
	d = open_log(rec, &c, 2);
	records_flush(rec);
	assert_null(data_log_why(d));
	data_log_close(d, NULL, then);
	records_free(rec);
}

static void a_data_log_stops_in_whole_lines_when_the_disk_takes_no_more(void **state)
{
	struct records *rec = start((struct records_options){ 0 });
	static const uint8_t packet[PACKET];
	struct rlimit before, small = { .rlim_cur = 100000 };
	struct conn c = { 0 };
	struct data_log *d = open_log(rec, &c, 1);
	char *p;
	size_t n;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(data_log_packet(d, DATA_LOG_UP, packet, sizeof packet, then), 0);
	records_flush(rec);
	setrlimit(RLIMIT_FSIZE, &before);
	expect_stop(rec, d, DATA_LOG_DISK);
	data_log_close(d, "end", then);
	records_free(rec);
	p = slurp("RL000820001800.LOG", &n);
	assert_true(n <= 100000);
	assert_string_equal(p + n - strlen("full or failed\n"), "full or failed\n");
	free(p);
}

static void a_file_that_cannot_be_made_stops_the_log_only(void **state)
{
	struct records *rec = start((struct records_options){ 0 });
	struct conn c = { 0 };
	struct data_log *d;

	(void)state;
	records_flush(rec);
	assert_int_equal(rmdir(dir.path), 0);
	d = open_log(rec, &c, 1);
	expect_stop(rec, d, DATA_LOG_OPEN);
	data_log_close(d, NULL, then);
	records_free(rec);
	assert_int_equal(mkdir(dir.path, 0700), 0);
}

int main(void)
{
#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_DIR(a_connection_is_a_line_in_the_layout_of_the_original),
		IN_DIR(a_line_belongs_to_the_local_day_of_its_own_time),
		IN_DIR(midnight_is_the_local_one),
		IN_DIR(a_json_line_tells_end_duration_bytes_and_reason),
		IN_DIR(a_refused_attempt_is_there_and_a_strangers_name_is_escaped),
		IN_DIR(a_flood_of_refusals_fills_no_disk_and_hides_no_connection),
		IN_DIR(nodes_that_share_a_folder_do_not_clobber_each_other),
		IN_DIR(a_file_that_was_moved_away_is_made_again),
		IN_DIR(a_line_that_cannot_be_written_is_counted_and_the_next_is_tried),
		IN_DIR(settings_change_live_and_a_bad_folder_changes_nothing),
		IN_DIR(files_past_their_age_are_removed_and_no_others),
		IN_DIR(files_past_their_age_are_removed_while_there_is_work_too),
		IN_DIR(a_data_log_shows_each_packet_in_hex_and_text),
		IN_DIR(no_data_log_ever_writes_to_another_ones_file),
		IN_DIR(every_byte_is_there_and_who_is_too_fast_waits_alone),
		IN_DIR(a_closed_connection_gets_no_room_and_leaves_nothing),
		IN_DIR(a_data_log_ends_in_whole_lines_at_its_size_limit),
		IN_DIR(at_the_floor_of_free_space_data_logs_stop_and_the_connection_log_goes_on),
		IN_DIR(a_data_log_stops_in_whole_lines_when_the_disk_takes_no_more),
		IN_DIR(a_file_that_cannot_be_made_stops_the_log_only),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
