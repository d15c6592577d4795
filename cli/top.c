/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal's side: the alternate screen, keys one by one, a new look each second. The terminal is given back as it was,
 * whatever ends this. Each frame is written at once, line over line, so that nothing flickers.
 *
 * Keys: 1-9, Tab and the arrows choose a table; up, down, page up and down scroll; s sorts by the next column, r turns the
 * order round; p pauses; q or Ctrl-C ends.
 */
#include "cli/top.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "cli/measure.h"
#include "common/clock.h"

enum { EVERY_MS = 1000, WHY = 200, HEAD_LINES = 3 };

static volatile sig_atomic_t over, resized;

static void on_end(int signo)
{
	(void)signo;
	over = 1;
}

static void on_resize(int signo)
{
	(void)signo;
	resized = 1;
}

struct top {
	struct cli *cli;
	struct top_view views[TOP_VIEWS_MAX];
	unsigned n_views, at;
	json_t *rows; /* as shown */
	char why[WHY];
	uint64_t looked_ns;
	unsigned sort; /* column; n_columns: as they come */
	bool ascending, paused;
	size_t first; /* row at the top */
	unsigned width, height;
	uint64_t every_ms;
};

/* ---- rows ---- */

static void choose(struct top *t, unsigned view)
{
	const struct top_kind *k = t->views[view].kind;

	t->at = view;
	t->first = 0;
	t->ascending = false;
	json_decref(t->rows);
	t->rows = NULL;
	t->looked_ns = 0;
	t->sort = k->n_columns;
	for (unsigned i = 0; k->sort && i < k->n_columns; i++)
		if (strcmp(k->columns[i].key, k->sort) == 0)
			t->sort = i;
}

static int compare(const json_t *a, const json_t *b, const struct column *c)
{
	const json_t *x = json_object_get(a, c->key), *y = json_object_get(b, c->key);

	if (json_is_string(x) || json_is_string(y))
		return strcmp(json_is_string(x) ? json_string_value(x) : "", json_is_string(y) ? json_string_value(y) : "");
	return json_integer_value(x) < json_integer_value(y) ? -1 : json_integer_value(x) > json_integer_value(y);
}

struct sorted {
	json_t *row;
	size_t at;
};
static const struct column *sort_column; /* of the one qsort() under way */
static int sort_sign;

static int by_column(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	int r = compare(x->row, y->row, sort_column) * sort_sign;

	return r ? r : x->at < y->at ? -1 : x->at > y->at; /* equal ones stay where they were */
}

static void sort_rows(struct top *t)
{
	const struct top_kind *k = t->views[t->at].kind;
	size_t n = json_array_size(t->rows);
	struct sorted *v = t->sort < k->n_columns ? calloc(n + 1, sizeof *v) : NULL;

	for (size_t i = 0; v && i < n; i++)
		v[i] = (struct sorted){ json_incref(json_array_get(t->rows, i)), i };
	if (!v)
		return;
	sort_column = &k->columns[t->sort];
	sort_sign = t->ascending || sort_column->kind == COL_TEXT ? 1 : -1;
	if (t->ascending && sort_column->kind == COL_TEXT)
		sort_sign = -1;
	qsort(v, n, sizeof *v, by_column);
	for (size_t i = 0; i < n; i++)
		json_array_set_new(t->rows, i, v[i].row);
	free(v);
}

static void look(struct top *t)
{
	uint64_t now = clock_steady_ns();
	json_t *rows;

	t->why[0] = 0;
	rows = top_rows(t->cli, &t->views[t->at], t->rows, (double)(now - t->looked_ns) / 1e9, t->why, sizeof t->why);
	if (rows) {
		json_decref(t->rows);
		t->rows = rows;
		t->looked_ns = now;
		sort_rows(t);
	}
}

/* ---- the screen ---- */

static void take_size(struct top *t)
{
	struct winsize w;
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row;

	t->width = known ? MAX(w.ws_col, 20) : 80;
	t->height = known ? MAX(w.ws_row, 6) : 24;
}

/* At most width characters of a line, and the rest of the screen's line empty. */
static void put_line(FILE *f, const char *s, size_t n, unsigned width)
{
	unsigned used = 0;

	for (size_t i = 0; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80 && used++ == width)
			break;
		fputc(s[i], f);
	}
	fputs("\033[K\r\n", f);
}

static void put_text(FILE *f, const char *s, unsigned width)
{
	put_line(f, s, strlen(s), width);
}

static unsigned tab_width(const struct top *t, unsigned i)
{
	return (unsigned)strlen(t->views[i].title) + 5;
}

static void put_tabs(FILE *f, const struct top *t)
{
	unsigned used = tab_width(t, t->at), from = t->at;

	while (from > 0 && t->at - from < 3 && used + tab_width(t, from - 1) <= t->width) /* the chosen one is in sight */
		used += tab_width(t, --from);
	used = 0;
	for (unsigned i = from; i < t->n_views; i++) {
		unsigned n = tab_width(t, i);
		if (used + n > t->width)
			break;
		fprintf(f, "%s %u %s %s ", i == t->at ? "\033[7m" : "", i + 1, t->views[i].title, i == t->at ? "\033[0m" : "");
		used += n;
	}
	fputs("\033[K\r\n", f);
}

/* The table as print_table() lays it out, all rows, so that columns do not jump while one scrolls. */
static char *table_text(const struct top *t)
{
	const struct top_kind *k = t->views[t->at].kind;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	print_table(f, k->columns, k->n_columns, t->rows);
	fclose(f);
	return text;
}

static void put_table(FILE *f, const struct top *t)
{
	char *text = table_text(t), *line = text;
	unsigned room = t->height - HEAD_LINES;

	for (size_t i = 0; line && *line && room; i++) {
		char *end = strchr(line, '\n');
		size_t n = end ? (size_t)(end - line) : strlen(line);
		if (i == 0)
			fputs("\033[1m", f);
		if (i == 0 || i > t->first) {
			put_line(f, line, n, t->width);
			room--;
		}
		if (i == 0)
			fputs("\033[0m", f);
		line = end ? end + 1 : NULL;
	}
	free(text);
}

static void draw(const struct top *t)
{
	const struct top_kind *k = t->views[t->at].kind;
	char line[256], when[16] = "", *frame = NULL;
	time_t now = time(NULL);
	struct tm tm;
	size_t n;
	FILE *f = open_memstream(&frame, &n);

	if (!f)
		return;
	if (localtime_r(&now, &tm))
		(void)strftime(when, sizeof when, "%T", &tm);
	fputs("\033[H", f);
	snprintf(line, sizeof line, "stile top  %s  %zu row%s%s%s%s%s   q ends, 1-9 tables, s sorts, r turns, p pauses, arrows scroll", when,
		 json_array_size(t->rows), json_array_size(t->rows) == 1 ? "" : "s", t->sort < k->n_columns ? ", by " : "",
		 t->sort < k->n_columns ? k->columns[t->sort].title : "", t->ascending ? " (turned)" : "", t->paused ? ", paused" : "");
	put_text(f, line, t->width);
	put_tabs(f, t);
	if (t->why[0])
		put_text(f, t->why, t->width);
	else if (!json_array_size(t->rows))
		put_text(f, "nothing", t->width);
	else
		put_table(f, t);
	fputs("\033[J", f);
	fclose(f);
	for (size_t done = 0; frame && done < n;) {
		ssize_t k2 = write(STDOUT_FILENO, frame + done, n - done);
		if (k2 <= 0 && errno != EINTR)
			break;
		done += (size_t)MAX(k2, 0);
	}
	free(frame);
}

/* ---- keys ---- */

static void scroll(struct top *t, long by)
{
	long n = (long)json_array_size(t->rows), to = (long)t->first + by;

	t->first = (size_t)MAX(0, MIN(to, n - 1));
}

static void on_letter(struct top *t, char c)
{
	const struct top_kind *k = t->views[t->at].kind;

	if (c == 'q' || c == 3)
		over = 1;
	else if (c >= '1' && c <= '9' && (unsigned)(c - '1') < t->n_views)
		choose(t, (unsigned)(c - '1'));
	else if (c == '\t')
		choose(t, (t->at + 1) % t->n_views);
	else if (c == 's')
		t->sort = (t->sort + 1) % (k->n_columns + 1);
	else if (c == 'r')
		t->ascending = !t->ascending;
	else if (c == 'p')
		t->paused = !t->paused;
	else if (c == 'j')
		scroll(t, 1);
	else if (c == 'k')
		scroll(t, -1);
	else if (c == ' ')
		scroll(t, (long)t->height - HEAD_LINES - 1);
	if (c == 's' || c == 'r')
		sort_rows(t);
}

/* "\033[A" and friends; what is none is passed over as a whole. */
static void on_escape(struct top *t, const char *s)
{
	long page = (long)t->height - HEAD_LINES - 1;

	if (strcmp(s, "[A") == 0)
		scroll(t, -1);
	else if (strcmp(s, "[B") == 0)
		scroll(t, 1);
	else if (strcmp(s, "[C") == 0)
		choose(t, (t->at + 1) % t->n_views);
	else if (strcmp(s, "[D") == 0)
		choose(t, (t->at + t->n_views - 1) % t->n_views);
	else if (strcmp(s, "[5~") == 0)
		scroll(t, -page);
	else if (strcmp(s, "[6~") == 0)
		scroll(t, page);
	else if (strcmp(s, "[H") == 0)
		t->first = 0;
}

static void read_keys(struct top *t)
{
	char buf[64];
	ssize_t n = read(STDIN_FILENO, buf, sizeof buf - 1);

	if (n <= 0) {
		over |= n == 0 || (errno != EINTR && errno != EAGAIN);
		return;
	}
	buf[n] = 0;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != '\033') {
			on_letter(t, buf[i]);
			continue;
		}
		size_t len = 1 + strspn(buf + i + 1, "[O");
		char seq[16];

		len += strspn(buf + i + len, "0123456789;");
		len += i + (ssize_t)len < n;
		snprintf(seq, sizeof seq, "%.*s", (int)len - 1, buf + i + 1);
		on_escape(t, seq);
		i += (ssize_t)len - 1;
	}
}

/* ---- the command ---- */

static void watch(struct top *t)
{
	uint64_t next = 0;

	while (!over) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
		uint64_t now = clock_steady_ns() / 1000000;

		if (resized) {
			resized = 0;
			take_size(t);
		}
		if ((now >= next && !t->paused) || !t->looked_ns) {
			look(t);
			next = clock_steady_ns() / 1000000 + t->every_ms;
			t->looked_ns = t->looked_ns ? t->looked_ns : clock_steady_ns();
		}
		draw(t);
		now = clock_steady_ns() / 1000000;
		if (poll(&p, 1, t->paused ? -1 : (int)(next > now ? next - now : 0)) > 0)
			read_keys(t);
	}
}

/* A machine reads all tables once. */
static int print_once(struct top *t)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < t->n_views; i++) {
		json_t *rows = top_rows(t->cli, &t->views[i], NULL, 1, t->why, sizeof t->why);
		json_object_set_new(all, t->views[i].title, rows ? rows : json_array());
	}
	print_json(all);
	json_decref(all);
	return 0;
}

static int on_terminal(struct top *t)
{
	const struct sigaction end = { .sa_handler = on_end }, size = { .sa_handler = on_resize };
	struct termios before, raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return cli_fail(t->cli, "this needs a terminal; --json prints the tables once");
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	sigaction(SIGWINCH, &size, NULL);
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l\033[2J", stdout);
	fflush(stdout);
	watch(t);
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return 0;
}

static int run_top(struct cli *cli)
{
	static struct top t;
	int r;

	t.cli = cli;
	t.every_ms = EVERY_MS;
	r = cli_time(cli, "every", &t.every_ms);
	if (r)
		return r;
	t.every_ms = MAX(t.every_ms, 100u);
	t.n_views = top_views(cli, t.views);
	if (t.n_views == 1)
		return cli_fail(cli, "no service of Stile runs (no control socket in %s)", cli_runtime_dir(cli));
	take_size(&t);
	choose(&t, 0);
	r = cli_has(cli, "json") ? print_once(&t) : on_terminal(&t);
	json_decref(t.rows);
	t.rows = NULL;
	return r;
}

static const struct option_row top_options[] = {
	{ "every", 'e', "TIME", "look so often (default 1s)" },
};

static const struct command rows[] = {
	{ "top", "", "the services' tables, live",
	  "Services, sessions, connections, agents, jobs, transactions: one table at a time, sorted by what moves most. 1-9, Tab and\n"
	  "the arrows choose a table; up, down, page up and down scroll; s sorts by the next column, r turns the order round; p\n"
	  "pauses; q ends. --json prints all tables once.",
	  top_options, ARRAY_LEN(top_options), 0, 0, run_top, WITHOUT_CONFIG },
};
const struct command_table top_commands = { rows, ARRAY_LEN(rows) };
