/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile supervise: starts services and looks after them on a machine without systemd, and for quickstart. It knows when a
 * service is ready (sd_notify), how it ended, and its last words; starts again what fell; and starts and stops by the
 * verbs of its control socket, RUNTIME-DIR/stile-supervisor.sock, that common/manager.h speaks.
 *
 *   supervise.c   the command, signals, verbs, notifications
 *   supervised.c  one service: process, output, restarts
 */
#pragma once
#include "cli/command.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/service.h"

enum { SV_LINE = 512, SV_LINES = 400, SV_PATH = 512 };
enum sv_state { SV_STOPPED, SV_STARTING, SV_RUNNING, SV_STOPPING, SV_FAILED, SV_STATES };

struct supervisor {
	struct cli *cli;
	struct loop *loop;
	struct control_server *control;
	char runtime_dir[256], config[SV_PATH], home[SV_PATH]; /* home: the folder of this program */
	const char *user; /* --user, or NULL */
	struct list services;
	struct io notify;
	char notify_path[64]; /* "@…": of NOTIFY_SOCKET */
	unsigned signals;     /* that asked for the end */
	bool failed;	      /* a service ended badly while all were stopped */
};

struct supervised {
	struct list node;
	struct supervisor *sup;
	char program[32], instance[64], full[100], config[SV_PATH];
	enum sv_state state;
	pid_t pid; /* 0: none */
	bool wanted; /* it is to run: what ends by itself is started again */
	bool again;  /* start it when it has stopped: a restart */
	bool was_ready;
	int64_t since; /* unix ms, in this state */
	int exit_code, signal; /* of the last end; -1, 0 */
	unsigned restarts, failures; /* failures: in a row, for the back-off */
	struct timer later, limit; /* the next try; the end of patience with a stop */
	struct io err;
	char partial[SV_LINE];
	size_t partial_n;
	char last_error[SV_LINE];
	char (*lines)[SV_LINE]; /* ring of what it wrote to stderr */
	uint64_t n_lines;
	struct list waiters;
};

/* NULL without memory. */
struct supervised *supervised_new(struct supervisor *sup, const char *program, const char *instance, const char *config);
struct supervised *supervised_free(struct supervised *v); /* its process is gone */
void supervised_start(struct supervised *v);
void supervised_stop(struct supervised *v);
void supervised_restart(struct supervised *v);
void supervised_hurry(struct supervised *v, bool kill_it); /* of one that stops: a second signal, or the last */
void supervised_ended(struct supervised *v, int status); /* as waitpid() says */
void supervised_notified(struct supervised *v, const char *key, const char *value);
json_t *supervised_row(const struct supervised *v);
json_t *supervised_output(const struct supervised *v, unsigned lines);
/* Answers when it runs or has ended. start: which of the two is good. */
void supervised_await(struct supervised *v, struct control_request *rq, bool start);
