/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a direct path for tests: an attempt of tunnel/direct/ice.h whose lines go over standard input and output, so that
 * whoever starts two of them carries the lines, and can put anybody else's ICE in the place of one.
 *
 *   ice_peer [OPTION…]   --controlling  --stun ADDRESS  --turn udp|tcp ADDRESS USER PASSWORD  --relay-only  --no-relay
 *                        --loopback  --no-port-mapping  --no-probing  --no-tcp  --study-after MS
 *
 * It writes "local UFRAG PWD", "candidate:…", "done", "path KIND LOCAL REMOTE TYPES MS", "lost KIND", "state N", and reads "remote UFRAG PWD",
 * "candidate:…", "done", "why", "show", "site", "send TEXT" (over TURN), "quit". It ends with its standard input.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/direct/ice.h"

enum { LINE_MAX_ = 1024 };

static struct {
	struct loop *loop;
	struct ice *ice;
	struct ice_try *t;
	struct io in;
	char text[LINE_MAX_];
	size_t n;
} me;

static void on_line(struct ice_try *t, const char *line, void *arg)
{
	(void)t;
	(void)arg;
	puts(line ? line : "done");
}

static void on_path(struct ice_try *t, struct ice_path *p, void *arg)
{
	char local[ADDR_STRLEN], remote[ADDR_STRLEN];

	(void)t;
	(void)arg;
	printf("path %s %s %s %s-%s %d\n", ice_kind_name(p->kind), addr_print(&p->local, local), addr_print(&p->remote, remote),
	       candidate_type_name(p->local_type), candidate_type_name(p->remote_type), (int)p->after_ms);
	if (p->fd >= 0)
		close(p->fd);
}

static void on_lost(struct ice_try *t, enum ice_kind k, void *arg)
{
	(void)t;
	(void)arg;
	printf("lost %s\n", ice_kind_name(k));
}

static void on_state(struct ice_try *t, enum ice_state s, void *arg)
{
	(void)t;
	(void)arg;
	printf("state %d\n", (int)s);
}

static void on_data(struct ice_try *t, const struct iovec *v, size_t n, void *arg)
{
	(void)t;
	(void)arg;
	for (size_t i = 0; i < n; i++)
		printf("data %.*s\n", (int)v[i].iov_len, (const char *)v[i].iov_base);
}

static const struct ice_ops ops = { on_line, on_path, on_lost, on_state, on_data };

static void told(char *line)
{
	char ufrag[256], pwd[257];

	if (sscanf(line, "remote %255s %256s", ufrag, pwd) == 2)
		printf("remote %d\n", ice_try_remote(me.t, ufrag, pwd));
	else if (strcmp(line, "done") == 0)
		ice_try_line(me.t, NULL);
	else if (strcmp(line, "why") == 0)
		printf("why %s\n", ice_try_why(me.t));
	else if (strcmp(line, "show") == 0 || strcmp(line, "site") == 0) {
		json_t *shown = line[1] == 'h' ? ice_try_show(me.t) : ice_show(me.ice);
		char *text = json_dumps(shown, JSON_COMPACT);
		printf("%s %s\n", line, text ? text : "{}");
		free(text);
		json_decref(shown);
	} else if (strncmp(line, "send ", 5) == 0) {
		struct iovec v = { line + 5, strlen(line + 5) };
		printf("sent %d\n", ice_try_send(me.t, &v, 1));
	} else if (strcmp(line, "quit") == 0)
		loop_stop(me.loop);
	else
		printf("line %d\n", ice_try_line(me.t, line));
}

static void on_input(struct io *io, int events)
{
	ssize_t n = read(io->fd, me.text + me.n, sizeof me.text - me.n - 1);
	char *end;

	(void)events;
	if (n <= 0) {
		loop_stop(me.loop);
		return;
	}
	me.n += (size_t)n;
	me.text[me.n] = 0;
	while ((end = strchr(me.text, '\n'))) {
		*end = 0;
		told(me.text);
		me.n -= (size_t)(end + 1 - me.text);
		memmove(me.text, end + 1, me.n + 1);
	}
	if (me.n == sizeof me.text - 1)
		me.n = 0; /* nobody's line is that long */
}

/* The option at argv[0]; how many words it took, 0: none that we know. */
static int option(char **argv, int left, struct ice_settings *s, struct ice_try_options *o)
{
	const char *name = argv[0];

	if (strcmp(name, "--controlling") == 0)
		o->controlling = true;
	else if (strcmp(name, "--relay-only") == 0)
		o->relay_only = true;
	else if (strcmp(name, "--no-relay") == 0)
		o->no_relay = true;
	else if (strcmp(name, "--loopback") == 0)
		s->loopback = true;
	else if (strcmp(name, "--no-port-mapping") == 0)
		s->no_port_mapping = true;
	else if (strcmp(name, "--no-probing") == 0)
		s->no_probing = true;
	else if (strcmp(name, "--no-tcp") == 0)
		s->no_tcp = true;
	else if (strcmp(name, "--study-after") == 0 && left > 1) {
		s->study_after_ms = strtoull(argv[1], NULL, 10);
		return 2;
	} else if (strcmp(name, "--stun") == 0 && left > 1 && s->n_stun < ICE_STUN_MAX)
		return addr_parse(text_of(argv[1]), 3478, &s->stun[s->n_stun++]) == 0 ? 2 : 0;
	else if (strcmp(name, "--turn") == 0 && left > 4 && s->n_turn < ICE_TURN_MAX) {
		struct ice_turn *t = &s->turn[s->n_turn++];
		t->tcp = strcmp(argv[1], "tcp") == 0;
		snprintf(t->user, sizeof t->user, "%s", argv[3]);
		snprintf(t->password, sizeof t->password, "%s", argv[4]);
		return addr_parse(text_of(argv[2]), 3478, &t->server) == 0 ? 5 : 0;
	} else
		return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct ice_settings s = { 0 };
	struct ice_try_options o = { .ops = &ops };
	int r;

	for (int i = 1, n; i < argc; i += n)
		if ((n = option(argv + i, argc - i, &s, &o)) == 0) {
			fprintf(stderr, "ice_peer: what is %s?\n", argv[i]);
			return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if ((r = loop_new(&me.loop)) != 0 || (r = ice_new(me.loop, &s, &me.ice)) != 0 ||
	    (r = ice_try_new(me.ice, me.loop, &o, &me.t)) != 0 ||
	    (r = io_start(&me.in, me.loop, STDIN_FILENO, IO_READ, on_input)) != 0) {
		fprintf(stderr, "ice_peer: %s\n", strerror(-r));
		return 1;
	}
	printf("local %s %s\n", ice_try_ufrag(me.t), ice_try_pwd(me.t));
	r = loop_run(me.loop);
	io_stop(&me.in);
	ice_try_free(me.t);
	ice_free(me.ice);
	loop_free(me.loop);
	return r != 0;
}
