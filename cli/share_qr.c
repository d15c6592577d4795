/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile share and stile get show: a QR code out of half blocks, two rows of it a line, dark on light whatever the terminal's colours
 * are; and the line of a transfer's progress. On what is no terminal progress is a line now and then.
 *
 * All of it goes to people: with --json none of this is called.
 */
#include <qrencode.h>
#include <string.h>
#include <unistd.h>
#include "cli/share.h"
#include "common/clock.h"

enum { QUIET_ZONE = 2, SHOW_MS = 200, SHOW_LINE_MS = 10 * 1000 };

static bool is_dark(const QRcode *q, int x, int y)
{
	return x >= 0 && y >= 0 && x < q->width && y < q->width && (q->data[y * q->width + x] & 1);
}

void share_qr_print(FILE *f, const char *text)
{
	static const char *const halves[] = { "█", "▄", "▀", " " }; /* light above and below, … ; on a dark ground */
	QRcode *q = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);

	if (!q)
		return; /* the link is printed in any case */
	for (int y = -QUIET_ZONE; y < q->width + QUIET_ZONE; y += 2) {
		fputs("  \033[37;40m", f);
		for (int x = -QUIET_ZONE; x < q->width + QUIET_ZONE; x++)
			fputs(halves[(is_dark(q, x, y) ? 1 : 0) + (is_dark(q, x, y + 1) ? 2 : 0)], f);
		fputs("\033[0m\n", f);
	}
	QRcode_free(q);
}

void share_bar_show(struct share_bar *b, const char *what, uint64_t at, uint64_t size, const char *note, bool now)
{
	uint64_t ms = clock_steady_ms(), spent;
	char line[400];
	struct sb s = sb_init(line, sizeof line);

	if (!b->first_ms) {
		b->tty = isatty(STDERR_FILENO);
		b->first_ms = ms;
		b->first_at = at;
	}
	if (!now && ms - b->shown_ms < (b->tty ? SHOW_MS : SHOW_LINE_MS))
		return;
	b->shown_ms = ms;
	spent = ms - b->first_ms;
	sb_fmt(&s, "%3u%%  %.60s  ", size ? (unsigned)(at * 100 / size) : 100, what);
	sb_size(&s, at);
	sb_str(&s, " of ");
	sb_size(&s, size);
	if (spent > 500 && at > b->first_at) {
		uint64_t rate = (at - b->first_at) * 1000 / spent;

		sb_str(&s, "  ");
		sb_size(&s, rate);
		sb_str(&s, "/s");
		if (rate && size > at) {
			sb_str(&s, ", ");
			sb_duration(&s, (size - at) / rate * 1000);
			sb_str(&s, " left");
		}
	}
	if (note && *note)
		sb_fmt(&s, "  %.120s", note);
	if (b->tty) {
		print_again(stderr, line);
	} else {
		print_clean(stderr, line);
		fputc('\n', stderr);
	}
}

void share_bar_end(struct share_bar *b)
{
	if (b->tty && b->shown_ms)
		print_again(stderr, "");
	*b = (struct share_bar){ 0 };
}
