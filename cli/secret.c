/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret that somebody types: from the terminal without echo, or the first line of standard input.
 * Never from the command line, which every user of the machine can read.
 *
 * The caller wipes what he got.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "cli/command.h"
#include "common/bytes.h"

enum { SECRET_MAX = 1024 };

static const int endings[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static volatile sig_atomic_t ended_by;

static void on_end(int signo)
{
	ended_by = signo;
}

/* A line without echo. Who ends the tool meanwhile gets a terminal back that shows what is typed. */
static char *read_unseen(const char *what, const struct termios *old, char *out, size_t cap)
{
	const struct sigaction sa = { .sa_handler = on_end }; /* no SA_RESTART: it ends the reading */
	struct sigaction before[ARRAY_LEN(endings)];
	struct termios quiet = *old;
	char *got;

	ended_by = 0;
	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		sigaction(endings[i], &sa, &before[i]);
	fprintf(stderr, "%c%s: ", what[0] & ~0x20 /* a small letter */, what + 1);
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped tool would leave it unseen, too */
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	got = fgets(out, (int)cap, stdin);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, old);
	fputc('\n', stderr);
	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		sigaction(endings[i], &before[i], NULL);
	if (ended_by)
		raise(ended_by);
	return ended_by ? NULL : got;
}

int cli_read_secret(const struct cli *c, const char *what, char *out, size_t cap)
{
	struct termios old;
	bool terminal = tcgetattr(STDIN_FILENO, &old) == 0;
	char *got = terminal ? read_unseen(what, &old, out, cap) : fgets(out, (int)cap, stdin);
	size_t n = got ? strcspn(out, "\r\n") : 0;

	if (n + 1 == cap) /* cut: a secret that nobody would ever type again */
		return cli_fail(c, "the %s is too long", what);
	out[n] = 0;
	return n ? 0 : cli_fail(c, "no %s was given (it is read from the terminal or from standard input)", what);
}

int cli_read_new_secret(const struct cli *c, const char *what, char *out, size_t cap)
{
	char again[SECRET_MAX], more[80];
	int r = cli_read_secret(c, what, out, cap);

	if (r || !isatty(STDIN_FILENO))
		return r;
	snprintf(more, sizeof more, "%s once more", what);
	r = cli_read_secret(c, more, again, MIN(cap, sizeof again));
	if (r == 0 && strcmp(again, out) != 0)
		r = cli_fail(c, "that was another one than before: nothing was done");
	if (r)
		bytes_wipe(out, cap);
	bytes_wipe(again, sizeof again);
	return r;
}
