/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret that somebody types: from the terminal without echo, or the first line of standard input.
 * Never from the command line, which every user of the machine can read.
 *
 * The caller wipes what he got.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "cli/command.h"

int cli_read_secret(const char *prompt, char *out, size_t cap)
{
	struct termios old, quiet;
	bool terminal = tcgetattr(STDIN_FILENO, &old) == 0;

	if (terminal) {
		fprintf(stderr, "%s: ", prompt);
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	char *got = fgets(out, (int)cap, stdin);
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (!got)
		return -EIO;
	size_t n = strcspn(out, "\r\n");
	if (n + 1 == cap) /* cut: a secret that nobody would ever type again */
		return -E2BIG;
	out[n] = 0;
	return out[0] ? 0 : -EINVAL;
}
