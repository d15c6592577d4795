/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tool's way to a service: its control socket, and one call with its error shown in words; and the
 * address of a server's name. A
 * failure is printed here with what to do about it, so that commands only pass the exit code on.
 * Connections are the caller's and end with its cleanup attribute.
 */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include "cli/command.h"
#include "common/service.h"

enum { TIMEOUT_MS = 10000 };

const char *cli_runtime_dir(const struct cli *c)
{
	static struct instance i;
	char err[256];

	return instance_init(&i, "stile", NULL, cli_option(c, "runtime-dir"), err, sizeof err) < 0 ? "/run/stile" : i.runtime_dir;
}

int cli_place(const struct cli *c, const char *program, struct instance *ret_i, char *err, size_t err_n)
{
	return instance_init(ret_i, program, cli_instance(c), cli_option(c, "runtime-dir"), err, err_n);
}

int cli_connect_named(const struct cli *c, const char *full, int timeout_ms, struct control_client **ret_client)
{
	char path[512];

	snprintf(path, sizeof path, "%.300s/%.128s.sock", cli_runtime_dir(c), full);
	return control_connect(path, timeout_ms, ret_client);
}

int cli_connect_patient(struct cli *c, const char *program, int timeout_ms, struct control_client **ret_client)
{
	const char *at = strchr(program, '@'); /* the word's instance, before that of --instance */
	struct instance i;
	char err[256], plain[sizeof i.program];
	int r;

	snprintf(plain, sizeof plain, "%.*s", (int)strcspn(program, "@"), program);
	r = instance_init(&i, plain, at ? at + 1 : cli_instance(c), cli_option(c, "runtime-dir"), err, sizeof err);
	if (r < 0)
		return cli_fail(c, "%s", err);
	r = control_connect(i.socket_path, timeout_ms, ret_client);
	if (r == 0)
		return 0;
	if (r == -ENOENT || r == -ECONNREFUSED)
		return cli_fail(c, "%s is not running (no control socket at %s)\nStart it, or point to its folder with --runtime-dir",
				i.full, i.socket_path);
	if (r == -EACCES)
		return cli_fail(c, "no access to %s: run as root or as a member of the group stile", i.socket_path);
	return cli_fail(c, "cannot talk to %s at %s: %s", i.full, i.socket_path, strerror(-r));
}

int cli_connect(struct cli *c, const char *program, struct control_client **ret_client)
{
	return cli_connect_patient(c, program, TIMEOUT_MS, ret_client);
}

static void print_version(const char *what, const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	fprintf(stderr, "  %s: ", what);
	print_clean(stderr, text ? text : "");
	fputc('\n', stderr);
	free(text);
}

/* What an error of a change has beside its text: further faults, both versions of what two have changed. */
static void print_more(const json_t *error)
{
	const json_t *fields = json_object_get(error, "fields"), *theirs = json_object_get(error, "theirs"), *f;

	for (size_t i = 1; (f = json_array_get(fields, i)); i++) {
		const char *path = json_string_value(json_object_get(f, "path"));
		fprintf(stderr, "  %s%s", path ? path : "", path ? ": " : "");
		print_clean(stderr, json_string_value(json_object_get(f, "text")));
		fputc('\n', stderr);
	}
	if (theirs) {
		print_version("there is", theirs);
		print_version("yours is", json_object_get(error, "yours"));
	}
}

int cli_call(struct cli *c, struct control_client *cl, const char *verb, json_t *args, json_t **ret_result)
{
	json_t *error = NULL;
	int r = control_call(cl, verb, args, ret_result, &error);

	if (r == 0)
		return 0;
	if (r == CONTROL_ERROR) {
		const char *text = json_string_value(json_object_get(error, "text"));
		const char *hint = json_string_value(json_object_get(error, "hint"));
		cli_fail(c, "%s%s%s", text ? text : "refused", hint && *hint ? "\n  try: " : "", hint ? hint : "");
		print_more(error);
		json_decref(error);
		return EXIT_FAILED;
	}
	return cli_fail(c, "the service has not answered: %s\n  try: stile status, and stile logs for what it says itself", strerror(-r));
}

int cli_rows(struct cli *c, struct control_client *cl, const struct cli_list *l, json_t *rows, bool *ret_more)
{
	json_t *cursor = NULL, *result = NULL;
	int r = 0;

	do {
		json_t *args = json_pack("{s:I}", "limit", (json_int_t)MIN(l->limit - json_array_size(rows), 1000));
		if (args && l->only)
			json_object_set_new(args, l->key, json_string(l->only));
		if (args && cursor)
			json_object_set(args, "cursor", cursor);
		json_decref(result);
		result = NULL;
		r = cli_call(c, cl, l->verb, args, &result);
		if (r)
			break;
		json_array_extend(rows, json_object_get(result, "rows"));
		cursor = json_object_get(result, "cursor");
	} while (cursor && json_array_size(rows) < l->limit);
	*ret_more = r == 0 && cursor;
	json_decref(result);
	return r;
}

int cli_objects(struct cli *c, struct control_client *cl, const char *kind, bool secrets, json_t *rows)
{
	json_t *result = NULL, *cursor = NULL;
	int r;

	do {
		json_t *args = json_pack("{s:s, s:b}", "kind", kind, "secrets", secrets);
		if (cursor)
			json_object_set(args, "after", cursor);
		json_decref(result);
		result = NULL;
		r = cli_call(c, cl, "service.objects", args, &result);
		json_array_extend(rows, json_object_get(result, "rows"));
		cursor = json_object_get(result, "cursor");
	} while (r == 0 && cursor);
	json_decref(result);
	return r;
}

int cli_resolve(const struct cli *c, const char *host, uint16_t port, struct addr *ret_a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *found;
	const char *colon = strchr(host, ':');
	int r = getaddrinfo(host, NULL, &hints, &found);

	if (r && colon && !strchr(colon + 1, ':'))
		return cli_fail(c, "HOST is a name or an address; its port goes to --port or --tls-port, not behind a colon");
	if (r)
		return cli_fail(c, "the name %s is not found: %s", host, gai_strerror(r));
	r = addr_from_sockaddr(found->ai_addr, found->ai_addrlen, ret_a);
	freeaddrinfo(found);
	addr_set_port(ret_a, port);
	return r < 0 ? cli_fail(c, "%s has no usable address", host) : 0;
}

int cli_ask(struct cli *cli, const char *program, const char *verb, json_t *args, json_t **ret_result)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	int r = cli_connect(cli, program, &cl);

	if (r) {
		json_decref(args);
		return r;
	}
	return cli_call(cli, cl, verb, args, ret_result);
}

int cli_metrics(struct cli *cli, const char *program, const char *verb)
{
	bool json = cli_has(cli, "json");
	json_t *result = NULL;
	int r = cli_ask(cli, program, verb, json_pack("{s:b}", "text", !json), &result);

	if (r == 0 && json)
		print_json(result);
	else if (r == 0)
		print_metrics(json_string_value(json_object_get(result, "text")), cli->n_words ? cli->words[0] : NULL);
	json_decref(result);
	return r;
}

json_t *cli_named(const struct cli *cli)
{
	return json_pack("{s:s}", "name", cli->words[0]);
}

int cli_do(struct cli *cli, const char *program, const char *verb, json_t *args, const char *form, const char *word)
{
	struct text rest = text_of(form), before = text_cut(&rest, '%');
	json_t *result = NULL;
	int r = cli_ask(cli, program, verb, args, &result);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
	} else if (r == 0) {
		printf("%.*s", TEXT_FMT(before));
		print_clean(stdout, rest.p ? word : "");
		printf("%s\n", rest.p ? rest.p + 1 : ""); /* behind "%s" */
	}
	json_decref(result);
	return r;
}
