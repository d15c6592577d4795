/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tool prints: tables, JSON, checklists. Texts that a stranger may have chosen (user names)
 * reach the terminal without control characters. Widths count characters, not bytes, as far as UTF-8
 * allows without a table of wide ones.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "common/text.h"

enum { CELL = 192, MAX_COLUMNS = 16, WHAT_WIDTH = 18 };

/* Printed width: UTF-8 continuation bytes take no column. */
static int width_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void print_clean(FILE *f, const char *s)
{
	for (; *s; s++) {
		bool c1 = (unsigned char)*s == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0; /* U+0080 to U+009F */

		fputc((unsigned char)*s < 0x20 || *s == 0x7f || c1 ? '?' : *s, f);
		s += c1;
	}
}

void print_again(FILE *f, const char *line)
{
	char clean[512] = "";
	FILE *m = fmemopen(clean, sizeof clean, "w");

	if (m) {
		print_clean(m, line);
		fclose(m);
	}
	fprintf(f, *line ? "\r\033[K\033[?7l%.511s\033[?7h" : "\r\033[K", clean); /* 7l: what is too long is cut, not broken */
	fflush(f);
}

int print_bytes_may(const struct cli *c)
{
	return isatty(STDOUT_FILENO) ? cli_wrong(c, "these bytes are not for a terminal: name a file, or lead them to one with > FILE") : 0;
}

/* Whoever read it has gone: "| head". */
static bool reader_is_gone(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

bool print_is_read(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) && !reader_is_gone();
}

int print_end(const struct cli *c, int r)
{
	bool flushed = fflush(stdout) == 0;
	int error = errno;

	if ((flushed && !ferror(stdout)) || reader_is_gone())
		return r;
	return cli_fail(c, "what is said here was not written to its end: %s", flushed ? "is the disk full?" : strerror(error));
}

void print_strings(const json_t *list, const char *between)
{
	size_t i;
	json_t *s;

	json_array_foreach(list, i, s) {
		fputs(i ? between : "", stdout);
		print_clean(stdout, json_string_value(s));
	}
}

json_t *strings_joined(const json_t *list, const char *between)
{
	char text[512];
	struct sb b = sb_init(text, sizeof text);
	size_t i;
	json_t *s;

	json_array_foreach(list, i, s)
		sb_fmt(&b, "%s%s", i ? between : "", json_string_value(s));
	return json_string(text);
}

void print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	fputc('\n', stdout);
}

void print_check(const struct cli *c, bool good, const char *what, const char *detail)
{
	const char *on = !c->color ? "" : good ? "\033[32m" : "\033[31m";

	printf("  %s%s%s ", on, good ? "✔" : "✘", c->color ? "\033[0m" : "");
	print_clean(stdout, what);
	printf("%*s ", MAX(WHAT_WIDTH - width_of(what), 0), "");
	print_clean(stdout, detail);
	fputc('\n', stdout);
	fflush(stdout);
}

struct cli_report cli_report_begin(struct cli *cli)
{
	return (struct cli_report){ .cli = cli, .rows = cli_has(cli, "json") ? json_array() : NULL };
}

void cli_report(struct cli_report *r, bool good, const char *what, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	text_as_utf8(line);
	r->bad += !good;
	if (r->rows)
		json_array_append_new(r->rows, json_pack("{s:s, s:b, s:s}", "check", what, "good", good, "text", line));
	else
		print_check(r->cli, good, what, line);
}

void cli_report_end(struct cli_report *r, bool print)
{
	if (r->rows && print)
		print_json(r->rows);
	json_decref(r->rows);
	r->rows = NULL;
}

static void cell_text(const struct column *col, const json_t *v, char out[static CELL])
{
	struct sb b = sb_init(out, CELL);

	if (!v || json_is_null(v)) {
		sb_char(&b, '-');
		return;
	}
	switch (col->kind) {
	case COL_TEXT:
		if (json_is_string(v))
			sb_str(&b, json_string_value(v));
		else
			sb_fmt(&b, "%lld", (long long)json_integer_value(v));
		break;
	case COL_COUNT:
		sb_fmt(&b, "%lld", (long long)json_integer_value(v));
		break;
	case COL_BYTES:
		sb_size(&b, (uint64_t)json_integer_value(v));
		break;
	case COL_MS:
		sb_duration(&b, (uint64_t)json_integer_value(v));
		break;
	case COL_BOOL:
		sb_str(&b, json_is_true(v) ? "yes" : "no");
		break;
	}
}

static void print_cell(FILE *f, const char *s, int width, bool right, bool last)
{
	int pad = width - width_of(s);

	if (right)
		fprintf(f, "%*s", pad, "");
	print_clean(f, s);
	if (!right && !last)
		fprintf(f, "%*s", pad, "");
	fputs(last ? "\n" : "  ", f);
}

void print_table(FILE *f, const struct column *cols, unsigned n_cols, const json_t *rows)
{
	int width[MAX_COLUMNS] = { 0 };
	char cell[CELL];
	size_t i;
	json_t *row;

	for (unsigned c = 0; c < n_cols; c++)
		width[c] = width_of(cols[c].title);
	json_array_foreach(rows, i, row)
		for (unsigned c = 0; c < n_cols; c++) {
			cell_text(&cols[c], json_object_get(row, cols[c].key), cell);
			width[c] = MAX(width[c], width_of(cell));
		}
	for (unsigned c = 0; c < n_cols; c++)
		print_cell(f, cols[c].title, width[c], cols[c].kind != COL_TEXT, c + 1 == n_cols);
	json_array_foreach(rows, i, row)
		for (unsigned c = 0; c < n_cols; c++) {
			cell_text(&cols[c], json_object_get(row, cols[c].key), cell);
			print_cell(f, cell, width[c], cols[c].kind != COL_TEXT, c + 1 == n_cols);
		}
}

void print_list(const struct cli *c, const struct column *cols, unsigned n_cols, const json_t *rows, const char *none)
{
	if (cli_has(c, "json"))
		print_json(rows);
	else if (json_array_size(rows))
		print_table(stdout, cols, n_cols, rows);
	else
		printf("%s\n", none);
}

void print_metrics(const char *text, const char *part)
{
	struct text rest = text_of(text);

	while (rest.n) {
		struct text line = text_cut(&rest, '\n'), name = line;
		for (int i = 0; i < 2 && text_starts(line, TEXT("#")); i++)
			(void)text_cut(&name, ' ');
		name = text_cut(&name, ' ');
		name = text_cut(&name, '{');
		if (!part || (name.n && memmem(name.p, name.n, part, strlen(part))))
			printf("%.*s\n", TEXT_FMT(line));
	}
}
