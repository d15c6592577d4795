/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile get: what somebody shares, by its code or link, over the stile-agent that runs here, or one that is started for it. While the sender is
 * away (asleep, restarted, without a network) it waits, says so, and goes on where it was.
 *
 * The agent's verb is watched by a thread (share_agent.c); everything else is one step after the other.
 */
#include "cli/get.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/json.h"
#include "common/service.h"

enum { META_MAX = 8 << 20, ANSWER_MS = 20 * 1000, FIRST_NEWS_MS = 500, RETRY_MS = 1000 };

/* ---- what is said ---- */

void get_say(struct get *g, const char *event, const char *name, uint64_t size, const char *text)
{
	share_bar_end(&g->bar);
	if (g->json) {
		json_t *o = json_pack("{s:s, s:s, s:I, s:s}", "event", event, "name", name, "size", (json_int_t)size, "text", text);

		(void)json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(o);
	} else {
		print_clean(stdout, text);
		putchar('\n');
	}
	fflush(stdout);
}

static bool link_up(const json_t *news)
{
	return strcmp(text_of_key(json_object_get(news, "link"), "state"), "up") == 0;
}

/* "direct, 31 ms", or why there is none. */
static void way_words(const json_t *news, char *out, size_t n)
{
	const json_t *link = json_object_get(news, "link");
	const char *why = text_of_key(news, "why");

	if (link_up(news))
		(void)snprintf(out, n, "%s, %lld ms", text_of_key(link, "path"), number_of_key(link, "rtt_us") / 1000);
	else
		(void)snprintf(out, n, "waiting: %s", *why ? why : "the way to the sender is being made");
}

void get_progress(struct get *g, bool now)
{
	char way[700];

	way_words(g->news, way, sizeof way);
	if (!g->json)
		share_bar_show(&g->bar, g->what ? g->what : "…", g->at, g->size, way, now);
}

/* Each second of waiting; false: it is over for good. */
static bool look(struct get *g, int ms)
{
	json_t *news = agent_watch_next(&g->watch, &g->seq, ms);
	char way[700], error[600];
	bool over, there;

	json_decref(g->news);
	g->news = news;
	pthread_mutex_lock(&g->watch.lock);
	over = g->watch.over;
	there = g->watch.there;
	memcpy(error, g->watch.error, sizeof error);
	pthread_mutex_unlock(&g->watch.lock);
	if (!over && get_guest_died(way, sizeof way)) {
		pthread_mutex_lock(&g->watch.lock);
		(void)snprintf(g->watch.error, sizeof g->watch.error, "the agent that was started for this has ended: %.500s", way);
		g->watch.over = over = true;
		pthread_mutex_unlock(&g->watch.lock);
	}
	if (over)
		return false;
	if (!there && *error)
		(void)snprintf(way, sizeof way, "waiting: %s", error);
	else
		way_words(news, way, sizeof way);
	if (!link_up(news) && strcmp(way, g->waiting) != 0) {
		(void)snprintf(g->waiting, sizeof g->waiting, "%s", way);
		get_say(g, "waiting", "", 0, way);
	}
	return true;
}

void get_refresh(struct get *g)
{
	(void)look(g, 0);
}

static bool patient(void *arg)
{
	struct get *g = arg;

	if (g->what)
		get_progress(g, false);
	return look(g, 0);
}

static int over(struct get *g)
{
	share_bar_end(&g->bar);
	return cli_fail(g->cli, "%s", g->watch.error[0] ? g->watch.error : "the share is over");
}

/* ---- asking ---- */

static bool find_place(struct get *g)
{
	const char *listen = text_of_key(g->news, "listen");
	struct addr at;

	if (!*listen || addr_parse(text_of(listen), 0, &at) < 0)
		return false;
	if (!addr_equal(&at, &g->http.at))
		share_http_close(&g->http);
	g->http.at = at;
	return true;
}

int get_wait(struct get *g)
{
	share_http_close(&g->http);
	if (!look(g, RETRY_MS))
		return over(g);
	if (link_up(g->news))
		(void)usleep(200 * 1000); /* the sender's program itself is away, or closes what was idle */
	return 0;
}

int get_ask(struct get *g, const struct share_ask *a)
{
	for (;;) {
		int r = find_place(g) ? share_http_ask(&g->http, a) : -EAGAIN;

		if (r == 0 && g->http.status != 503)
			return 0;
		if (r == 0)
			(void)usleep(RETRY_MS * 1000);
		r = get_wait(g);
		if (r)
			return r;
	}
}

int get_fail_status(struct get *g)
{
	share_bar_end(&g->bar);
	return cli_fail(g->cli, "%s", g->http.error_text[0] ? g->http.error_text : "the other side refused it");
}

json_t *get_sealed(struct get *g)
{
	char *body = NULL, *plain = NULL;
	json_t *o = NULL;
	size_t n;
	int r = share_http_whole(&g->http, META_MAX, &body, &n);

	if (r == 0)
		r = sealed_open(g->code.secret, "meta", (struct text){ body, n }, &plain, &n);
	if (r == 0)
		o = json_loadb(plain, n, JSON_REJECT_DUPLICATES, NULL);
	free(body);
	free(plain);
	if (!o && r != -ECONNRESET && r != -ETIMEDOUT)
		(void)cli_fail(g->cli, "what the other side said cannot be opened with this code");
	return o;
}

bool get_sha(int fd, uint8_t buf[static RECORD_PLAIN], char out[static 2 * GET_SHA + 1])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sum[EVP_MAX_MD_SIZE];
	ssize_t n = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? 1 : -1;
	bool ok;

	for (off_t at = 0; n > 0 && (n = pread(fd, buf, RECORD_PLAIN, at)) > 0; at += n)
		(void)EVP_DigestUpdate(md, buf, (size_t)n);
	ok = n == 0 && EVP_DigestFinal_ex(md, sum, NULL) == 1;
	if (ok)
		hex_encode(sum, GET_SHA, out);
	EVP_MD_CTX_free(md);
	return ok;
}

static int ask_meta(struct get *g, json_t **ret_meta)
{
	int r;

	for (;;) {
		r = get_ask(g, &(struct share_ask){ .method = "GET", .path = "meta" });
		if (r)
			return r;
		if (g->http.status != 200)
			return get_fail_status(g);
		*ret_meta = get_sealed(g);
		if (*ret_meta)
			return 0;
		if (g->http.fd >= 0)
			return EXIT_FAILED;
		r = get_wait(g);
		if (r)
			return r;
	}
}

/* ---- what there is to do ---- */

static int open_out(struct get *g)
{
	const char *dir = g->cli->n_words > 1 ? g->cli->words[1] : ".";

	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return cli_fail(g->cli, "%s: %s", dir, strerror(errno));
	g->out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return g->out < 0 ? cli_fail(g->cli, "%s: %s", dir, strerror(errno)) : 0;
}

static int take_all(struct get *g)
{
	json_t *meta = NULL;
	bool again = true;
	int r = open_out(g);

	for (unsigned tries = 0; r == 0 && again && tries < 10; tries++) {
		again = false;
		r = ask_meta(g, &meta);
		if (r)
			return r;
		if (strcmp(text_of_key(meta, "kind"), "upload") == 0)
			r = cli_fail(g->cli, "there is nothing to get in this share; it takes files: stile get CODE --send FILE");
		else
			r = get_files(g, meta, &again);
		json_decref(meta);
		meta = NULL;
	}
	if (r == 0 && again)
		r = cli_fail(g->cli, "the files change faster than they can be read");
	if (r == 0 && find_place(g)) /* once: the share may end by it, and the way with it */
		(void)share_http_ask(&g->http, &(struct share_ask){ .method = "POST", .path = "done", .has_body = true });
	close(g->out);
	return r;
}

static int send_all(struct get *g)
{
	int r = 0;

	for (unsigned i = 0; i < g->cli->n_many && r == 0; i++)
		r = get_send(g, g->cli->many[i]);
	return r;
}

static int lead_to_service(struct get *g)
{
	char line[300];

	(void)snprintf(line, sizeof line, "%.80s leads to what is shared; Ctrl-C ends it", text_of_key(g->news, "listen"));
	get_say(g, "listening", text_of_key(g->news, "listen"), 0, line);
	while (look(g, RETRY_MS))
		if (link_up(g->news) && g->waiting[0]) {
			way_words(g->news, line, sizeof line);
			g->waiting[0] = '\0';
			get_say(g, "connected", "", 0, line);
		}
	return over(g);
}

/* ---- the way ---- */

/* 0; -EINVAL, -errno of the attempt to talk to it. */
static int agent_runs(struct cli *cli)
{
	struct instance i;
	char err[256];
	struct control_client *cl = NULL;
	int r = cli_place(cli, AGENT_PROGRAM, &i, err, sizeof err);

	if (r == 0)
		r = control_connect(i.socket_path, ANSWER_MS, &cl);
	control_client_free(cl);
	return r;
}

static int find_way(struct get *g)
{
	char knock[2 * SHARE_KNOCK + 1], id[SHARE_ID_STRLEN], socket[200] = "";
	json_t *args;
	int r = agent_runs(g->cli);

	if (r < 0) {
		if (!g->code.host[0])
			return cli_fail(g->cli, "%s, and the code does not say where the server is\nTake the code with its @HOST:PORT, or a link%s",
					r == -EACCES ? "the stile-agent that runs here may not be asked by this user" : "no stile-agent runs here",
					r == -EACCES ? "; or run this as root or as a member of the group stile" : "");
		r = get_guest_agent(g->cli, &g->code, &g->keys, socket, sizeof socket);
	}
	if (r)
		return r;
	hex_encode(g->keys.knock, SHARE_KNOCK, knock);
	hex_encode(g->keys.id, SHARE_ID, id);
	args = json_pack("{s:s, s:s, s:s*}", "share", id, "knock", knock, "head_start", cli_option(g->cli, "head-start"));
	bytes_wipe(knock, sizeof knock);
	r = agent_watch_start(&g->watch, g->cli, *socket ? socket : NULL, "agent.guest", args);
	return r < 0 ? cli_fail(g->cli, "cannot ask the agent: %s", strerror(-r)) : 0;
}

/* The sender has been met, or there is no hope of it. */
static int meet(struct get *g)
{
	while (look(g, FIRST_NEWS_MS))
		if (*text_of_key(g->news, "listen"))
			return 0;
	return over(g);
}

static int run_get(struct cli *cli)
{
	static struct get g; /* the thread may look at it until the process ends */
	enum share_code_error e = share_code_parse(text_of(cli->words[0]), &g.code);
	int r;

	g.cli = cli;
	g.json = cli_has(cli, "json");
	g.http.fd = g.out = -1;
	g.http.timeout_ms = ANSWER_MS;
	g.http.patient = patient;
	g.http.arg = &g;
	if (e != SHARE_CODE_OK)
		return cli_wrong(cli, "%s", share_code_error_text(e));
	if (share_keys_make(g.code.secret, &g.keys) < 0 || bytes_random(g.http.receiver, sizeof g.http.receiver) < 0)
		return cli_fail(cli, "no random bytes");
	g.http.id = share_id_number(g.keys.id);
	memcpy(g.http.token, g.keys.token, sizeof g.http.token);
	r = find_way(&g);
	if (r == 0)
		r = meet(&g);
	if (r == 0)
		r = strcmp(text_of_key(g.news, "kind"), "tcp") == 0 ? lead_to_service(&g) : cli->n_many ? send_all(&g) : take_all(&g);
	share_http_close(&g.http);
	get_guest_end();
	_exit(print_end(cli, r)); /* the thread waits for the agent */
}

/* clang-format off */
static const struct option_row get_options[] = {
	{ "send", 's', "FILE", "send a file instead, where the share takes some; may be repeated", true },
	{ "head-start", 0, "TIME", "how long only direct paths are tried: 200ms (default), 0s, or unlimited", false },
};
static const struct command rows[] = {
	{ "get", "CODE|LINK [DIR]", "get what somebody shares with stile share, directly where a direct path is possible",
	  "Files are written into DIR (default: here), never over one that is there. A file that was broken off goes on where it was, also when the\n"
	  "command is given again. While the sender is away it waits. Of a shared service it listens on a port of 127.0.0.1.\n"
	  "Without a stile-agent here one is started for as long as it takes; the code must then have its @HOST:PORT.",
	  get_options, ARRAY_LEN(get_options), 1, 2, run_get, WITHOUT_CONFIG },
};
/* clang-format on */
const struct command_table get_commands = { rows, ARRAY_LEN(rows) };
