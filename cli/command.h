/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stile tool's commands: one row each. Usage, help, completions and stile-commands(1) come from
 * these rows; a command's run() gets its options parsed against its own table.
 *
 * Exit codes: 0 all went well, 1 something failed (the reason was printed), 2 wrong usage or a bad
 * configuration.
 */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include "common/addr.h"
#include "common/control.h"
#include "common/defs.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, CLI_MAX_OPTIONS = 32, CLI_MAX_WORDS = 16 };

struct option_row {
	const char *name; /* "ttl": --ttl */
	char letter;	  /* 'c': -c; 0: none */
	const char *value; /* "TIME"; NULL: a switch */
	const char *help;
	bool many; /* may be repeated: the values are in cli.many; one such option a command */
};

struct cli { /* a parsed command line */
	const struct command *command;
	const char *words[CLI_MAX_WORDS]; /* what is neither option nor value */
	unsigned n_words;
	const char *values[CLI_MAX_OPTIONS]; /* by position in the command's table, then the common one; "" for a switch that is on */
	const char *many[CLI_MAX_WORDS];
	unsigned n_many;
	bool color; /* stdout is a terminal that takes it */
};

struct command {
	const char *name; /* "turn sessions" */
	const char *words; /* "[HOST]" */
	const char *summary;
	const char *help; /* paragraphs, or NULL */
	const struct option_row *options;
	unsigned n_options;
	unsigned min_words, max_words;
	int (*run)(struct cli *cli);
	unsigned without; /* WITHOUT_…: common options that mean nothing to it, and are refused */
};
enum { WITHOUT_CONFIG = 1, WITHOUT_SERVICE = 2 /* it asks no running service: no --instance, no --runtime-dir */ };

/* Each file of commands ends in a table of rows. */
struct command_table {
	const struct command *rows;
	size_t n;
};
extern const struct command_table check_commands, service_commands, status_commands, lifecycle_commands, supervise_commands,
	logs_commands, test_all_commands, capacity_commands, top_commands, completion_commands, ask_commands, turn_commands, turn_secret_commands, test_commands, conform_commands,
	bench_commands, netcheck_commands, import_commands, config_commands, config_change_commands, config_object_commands, backup_commands, restore_commands, ready_commands, relay_commands,
	relay_route_commands, relay_run_commands, relay_watch_commands, tunnel_agents_commands, tunnel_identity_commands,
	agent_enrol_commands, tunnel_commands, tunnel_job_commands, agent_commands, test_tcp_commands, sip_commands,
	sip_test_commands, sip_user_commands, direct_commands, agent_visit_commands, sip_server_commands, sip_server_set_commands,
	sip_certificate_commands, sip_interface_commands, sip_test_servers_commands,
	test_reach_commands, gateway_commands, sip_route_commands, sip_federation_commands, sip_explain_commands, sip_doctor_commands,
	console_commands, console_account_commands, share_commands, get_commands;

int run_snippet(struct cli *cli); /* snippet.c; its row is among the turn commands */

/* All commands, and the options of one, its own and then the common ones that it takes; NULL behind the last. For what is
 * made from the tables: completions, the man page. */
const struct command *cli_nth_command(size_t i);
const struct option_row *cli_nth_option(const struct command *cmd, unsigned i);

/* NULL if not given; "" for a switch that was. The name is one of the command's or of the common rows:
 * config, instance, runtime-dir, json. */
const char *cli_option(const struct cli *c, const char *name);
static inline bool cli_has(const struct cli *c, const char *name)
{
	return cli_option(c, name) != NULL;
}
const char *cli_config_path(const struct cli *c); /* --config (of a folder its stile.yaml), or /etc/stile/stile.yaml */
const char *cli_instance(const struct cli *c); /* --instance, or the name of the folder that is --config; NULL: neither */
/* The instance of this program that is meant: instance_init() with cli_instance() and --runtime-dir. */
struct instance;
int cli_place(const struct cli *c, const char *program, struct instance *ret_i, char *err, size_t err_n);
/* Numbers and times given to options: 0, or EXIT_USAGE after saying what is wrong. */
int cli_number(const struct cli *c, const char *name, uint64_t min, uint64_t max, uint64_t *v);
int cli_time(const struct cli *c, const char *name, uint64_t *ms);
/* "a, b": [a, b], without empty ones; [] if the option was not given. */
json_t *cli_list_of(const struct cli *c, const char *name);

/* Prints "stile COMMAND: …" on stderr; returns EXIT_FAILED. */
int cli_fail(const struct cli *c, const char *fmt, ...) _printf_(2, 3);
/* The same of what was typed: EXIT_USAGE. */
int cli_wrong(const struct cli *c, const char *fmt, ...) _printf_(2, 3);

/* A "password" that is typed without echo, or the first line of standard input. 0, or EXIT_FAILED after saying what is wrong. */
int cli_read_secret(const struct cli *c, const char *what, char *out, size_t cap);
/* One that locks something and is nowhere else: on a terminal it is typed twice. */
int cli_read_new_secret(const struct cli *c, const char *what, char *out, size_t cap);

/* Name or address: 0, or EXIT_FAILED after saying why. */
int cli_resolve(const struct cli *c, const char *host, uint16_t port, struct addr *ret_a);

/* Control sockets. A program is "stile-turn", whose instance --instance says, or "stile-turn@lab". */
int cli_connect(struct cli *c, const char *program, struct control_client **ret_client); /* 0 or exit code, said why */
/* The same for calls that may take longer than usual. */
int cli_connect_patient(struct cli *c, const char *program, int timeout_ms, struct control_client **ret_client);
/* One call: 0 and *ret_result, or the exit code after printing text and hint. args is taken. */
int cli_call(struct cli *c, struct control_client *cl, const char *verb, json_t *args, json_t **ret_result);
/* The same over a connection of its own to the program. */
int cli_ask(struct cli *cli, const char *program, const char *verb, json_t *args, json_t **ret_result);
/* The same, with JSON or a sentence printed: form has word, which others may have chosen, in place of its "%s". */
int cli_do(struct cli *cli, const char *program, const char *verb, json_t *args, const char *form, const char *word);
json_t *cli_named(const struct cli *cli); /* args of both: {name}, the first word */
/* run_… of `stile … metrics [NAME]`: what the verb counts, as text or JSON. */
int cli_metrics(struct cli *cli, const char *program, const char *verb);
struct cli_list { /* of a verb that answers a page at a time */
	const char *verb;
	uint64_t limit;
	const char *key, *only; /* an argument of the verb; only NULL: without it */
};
/* As many of its rows as the limit allows, appended to rows; whether there are more. 0 or an exit code, as above. */
int cli_rows(struct cli *c, struct control_client *cl, const struct cli_list *l, json_t *rows, bool *ret_more);
/* All objects of a kind in the service's store, {key, body, …}, appended to rows. 0 or an exit code, as above. */
int cli_objects(struct cli *c, struct control_client *cl, const char *kind, bool secrets, json_t *rows);
const char *cli_runtime_dir(const struct cli *c);
/* To the one of this name ("stile-turn@lab", MANAGER_SUPERVISOR) in that folder. 0 or -errno; nothing is printed. */
int cli_connect_named(const struct cli *c, const char *full, int timeout_ms, struct control_client **ret_client);

/* Tables for people: columns aligned, numbers right. */
enum column_kind { COL_TEXT, COL_COUNT, COL_BYTES, COL_MS, COL_BOOL };
struct column {
	const char *key;    /* in the row's object */
	const char *title;
	enum column_kind kind;
};
void print_table(FILE *f, const struct column *cols, unsigned n_cols, const json_t *rows);
void print_json(const json_t *j); /* one document, indented, newline */
/* Rows as JSON, if that is wanted, or as a table; none: the line that stands for a table without rows. */
void print_list(const struct cli *c, const struct column *cols, unsigned n_cols, const json_t *rows, const char *none);
/* "✔ text" or "✘ text", coloured on a terminal. */
void print_check(const struct cli *c, bool good, const char *what, const char *detail);
/* A certificate as cert_row() of common/cert.h tells it, in lines below its name; of_key: behind the kind of its key. */
void cli_print_certificate(const json_t *row, const char *of_key);
void cli_print_sayings(const struct cli *cli, const json_t *row); /* its faults and warnings */
/* run_… of `stile … certificate list`: none says how there would be some. */
int cli_certificates(struct cli *cli, const char *program, const char *verb, const char *none);
int cli_certificate_files(struct cli *cli, const char *program, const char *verb); /* run_… of `stile … certificate files` */
/* Checks one after the other: each is printed as it comes, or with --json collected as {check, good, text}. */
struct cli_report {
	struct cli *cli;
	json_t *rows; /* --json */
	unsigned bad;
};
struct cli_report cli_report_begin(struct cli *cli);
void cli_report(struct cli_report *r, bool good, const char *what, const char *fmt, ...) _printf_(4, 5);
void cli_report_end(struct cli_report *r, bool print); /* prints what was collected, if wanted */
/* Whether standard output still takes anything: what shows something again and again ends where nobody reads it. */
bool print_is_read(void);
/* Behind a command's last word: its exit code, or EXIT_FAILED, and said, where not all was written (a full disk). */
int print_end(const struct cli *c, int r);
void print_clean(FILE *f, const char *s); /* without control characters: names that strangers chose */
/* The line of a terminal in which the cursor stands, anew, and no more than fits into it; "": as if there had been none. */
void print_again(FILE *f, const char *line);
/* Bytes for a program, to standard output: 0, or EXIT_USAGE after saying so where that is a terminal. */
int print_bytes_may(const struct cli *c);
void print_strings(const json_t *list, const char *between);
json_t *strings_joined(const json_t *list, const char *between); /* for a column of a table, which shows less than 512 bytes */
/* Of Prometheus text what concerns the metrics whose name holds part (NULL: all): comment lines name theirs third. */
void print_metrics(const char *text, const char *part);
