/* SPDX-License-Identifier: Apache-2.0 */
/* Records without memory: a line is lost and counted, a data log stops or is not begun, nothing leaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/oom/failing.h"
#include "tunnel/records.h"

static void no_room(void *arg)
{
	(void)arg;
}

static void use(struct records *rec, unsigned *lines)
{
	struct record r = { .kind = RECORD_OPENED, .source = addr_v4(0x7f000001, 1), .target = addr_v4(0x7f000001, 2) };
	struct data_log_options o = { .room = no_room, .id = 1, .source = r.source, .target = r.target };
	struct records_figures f;
	struct data_log *d = NULL;

	for (unsigned i = 0; i < 2; i++)
		records_connection(rec, &r, 1000);
	int open = data_log_open(rec, &o, 1000, &d);
	assert_true(open == 0 || open == -ENOMEM);
	int packet = open ? 0 : data_log_packet(d, DATA_LOG_UP, "abc", 3, 1000);
	assert_true(packet == 0 || (packet == DATA_LOG_STOPPED && data_log_why(d)));
	data_log_close(d, "end", 2000);
	records_flush(rec);
	records_figures(rec, &f);
	assert_int_equal(f.lines + f.lines_lost, 4);
	assert_int_equal(f.stops[DATA_LOG_MEMORY], packet == DATA_LOG_STOPPED);
	*lines = (unsigned)f.lines;
}

static void what_finds_no_memory_is_counted_and_nothing_leaks(void **state)
{
	char dir[] = "/tmp/oom-records-XXXXXX", err[256], command[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (unsigned n = 1, hit = true; hit; n++) {
		struct records_options o = { .dir = dir, .connections = true, .connections_json = true };
		struct records *rec = NULL;
		unsigned lines = 0;
		oom_arm(n);
		int r = records_new(&o, err, sizeof err, &rec);
		assert_true(r == 0 || r == -ENOMEM);
		if (r == 0)
			use(rec, &lines);
		hit = oom_hit();
		oom_arm(0);
		assert_true(lines == 4 || hit);
		records_free(rec);
	}
	snprintf(command, sizeof command, "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_finds_no_memory_is_counted_and_nothing_leaks),
	};

	return cmocka_run_group_tests_name("oom records", tests, NULL, NULL);
}
