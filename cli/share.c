/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile share: serves a file or a folder, takes uploads, or shares a service, for as long as it runs. The bytes come over the stile-agent
 * that runs here; the HTTP server is in this process, on a port of 127.0.0.1 that the agent is told.
 *
 * One loop; the agent's verb is watched by a thread (share_agent.c), which writes to the loop.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "cli/share.h"
#include "cli/share_forward.h"
#include "common/addr.h"
#include "common/bytes.h"
#include "common/json.h"
#include "share/forward/config.h"
#include "share/server.h"

enum { CONTENT_MAX_DAYS = 366, PROGRESS_MS = 1000, LATER_MAX_S = 86400 };
#define UPLOAD_LIMIT_DEFAULT (UINT64_C(10) * 1000 * 1000 * 1000)

struct run {
	struct cli *cli;
	struct loop *loop;
	struct share_code code;
	struct share_keys keys;
	char id[SHARE_ID_STRLEN], name[256];
	struct tree *tree;
	struct uploads *uploads;
	struct share_server *server;
	struct acceptor *acceptor;
	struct addr at; /* of the HTTP server */
	struct share_forward *forward; /* port-forwarding mode; NULL: the share is reached through the agent */
	char host[256]; /* of --tcp */
	uint16_t port, order[SHARE_ORDER_MAX]; /* order: of the server's ports, for who has no agent; n_order 0: the usual one */
	unsigned n_order;
	uint64_t expires, limit;
	struct agent_watch watch;
	struct mail mail;
	pthread_mutex_t lock; /* of mailed */
	bool mailed, told, json, done, shown; /* shown: a line of progress stands on the terminal */
	char state[600], link[900];
	struct timer progress, end; /* end: of a service that is shared for a time */
	struct share_counts before; /* a second ago */
	int result;
};

/* ---- what is said ---- */

static void put_json(json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

static void end_progress(struct run *r)
{
	if (r->shown)
		print_again(stdout, "");
	r->shown = false;
}

/* On a terminal: what goes on, in one line that is written anew each second. */
static void on_progress(struct timer *t, uint64_t now)
{
	struct run *r = container_of(t, struct run, progress);
	struct share_counts c;
	char line[200];
	struct sb b = sb_init(line, sizeof line);

	(void)now;
	share_server_counts(r->server, &c);
	sb_fmt(&b, "  … %u under way, ", c.transfers);
	sb_size(&b, c.sent - r->before.sent);
	sb_str(&b, "/s out, ");
	sb_size(&b, c.received - r->before.received);
	sb_str(&b, "/s in, ");
	sb_size(&b, c.sent + c.received);
	sb_str(&b, " in all");
	if (c.transfers || c.received != r->before.received) {
		print_again(stdout, line);
		r->shown = true;
	} else {
		end_progress(r);
	}
	r->before = c;
	loop_timer_set(r->loop, t, PROGRESS_MS);
}

static void say(struct run *r, const char *event, const char *text)
{
	end_progress(r);
	if (r->json) {
		put_json(json_pack("{s:s, s:s}", "event", event, "text", text));
		return;
	}
	fputs("  ", stdout);
	print_clean(stdout, text);
	putchar('\n');
	fflush(stdout);
}

static void on_event(const struct share_event *e, void *arg)
{
	static const char *const words[] = { [SHARE_BEGUN] = "begun", [SHARE_SENT] = "sent", [SHARE_BROKEN] = "broken", [SHARE_UPLOADING] = "uploading",
					     [SHARE_UPLOADED] = "uploaded", [SHARE_TAKEN] = "taken", [SHARE_GUESSED] = "guessed", [SHARE_DONE] = "done" };
	struct run *r = arg;
	char line[600];
	struct sb b = sb_init(line, sizeof line);

	if (e->kind == SHARE_DONE) {
		r->done = true;
		loop_stop(r->loop);
	}
	if (r->json) {
		put_json(json_pack("{s:s, s:s, s:s, s:I, s:I}", "event", words[e->kind], "name", e->name, "client", e->client, "at", (json_int_t)e->at,
				   "size", (json_int_t)e->size));
		return;
	}
	switch (e->kind) {
	case SHARE_BEGUN:
		sb_fmt(&b, "%s → %s", e->name, e->client);
		if (e->at)
			sb_str(&b, ", goes on at "), sb_size(&b, e->at);
		break;
	case SHARE_SENT: sb_fmt(&b, "✔ %s was read to its end by %s", e->name, e->client); break;
	case SHARE_BROKEN: sb_fmt(&b, "✘ %s: %s went away; it can go on where it was", e->name, e->client); break;
	case SHARE_UPLOADING: sb_fmt(&b, "%s ← %s, ", e->name, e->client), sb_size(&b, e->size); break;
	case SHARE_UPLOADED: sb_fmt(&b, "✔ received %s, ", e->name), sb_size(&b, e->size); break;
	case SHARE_TAKEN: sb_fmt(&b, "%s was refused: another receiver has this share (--once)", e->client); break;
	case SHARE_GUESSED: sb_fmt(&b, "%s showed a wrong code (%llu of %llu in a minute)", e->client, (unsigned long long)e->at, (unsigned long long)e->size); break;
	case SHARE_DONE: sb_str(&b, r->expires && (uint64_t)time(NULL) >= r->expires ? "its time is over" : "its receiver has it; the share is over"); break;
	}
	say(r, words[e->kind], line);
}

/* ---- what is shared ---- */

static bool split_target(struct run *r, const char *target)
{
	struct addr a;
	struct text host = text_of(target), port;
	uint64_t n;

	if (addr_parse(text_of(target), 0, &a) == 0 && addr_port(&a)) {
		(void)addr_print_ip(&a, r->host);
		r->port = addr_port(&a);
		return true;
	}
	port = host;
	host = text_cut(&port, ':');
	if (!port.p || text_u64(port, &n) < 0 || !n || n > UINT16_MAX || !host.n || host.n >= sizeof(r->host))
		return false;
	(void)snprintf(r->host, sizeof(r->host), "%.*s", TEXT_FMT(host));
	r->port = (uint16_t)n;
	return true;
}

static int read_options(struct run *r)
{
	struct cli *cli = r->cli;
	const char *limit = cli_option(cli, "limit"), *target = cli_option(cli, "tcp");
	uint64_t ms = 0;
	int bad = cli_time(cli, "expire", &ms);

	if (bad)
		return bad;
	if (cli_has(cli, "expire") && (ms < 1000 || ms > UINT64_C(86400000) * CONTENT_MAX_DAYS))
		return cli_wrong(cli, "--expire is between 1s and %ud", CONTENT_MAX_DAYS);
	r->expires = ms ? (uint64_t)time(NULL) + ms / 1000 : 0;
	r->limit = UPLOAD_LIMIT_DEFAULT;
	if (limit && text_size(text_of(limit), &r->limit) < 0)
		return cli_wrong(cli, "--limit is a size such as 500MB or 10GiB, not '%s'", limit);
	if (target && (cli->n_words || cli_has(cli, "upload") || cli_has(cli, "once")))
		return cli_wrong(cli, "--tcp shares a service, and nothing else: without FILE, --upload and --once");
	if (!target && !cli->n_words && !cli_has(cli, "upload"))
		return cli_wrong(cli, "say what to share: a file, a folder, --upload DIR or --tcp HOST:PORT");
	if (target && !split_target(r, target))
		return cli_wrong(cli, "--tcp is HOST:PORT, not '%s'", target);
	return 0;
}

static int open_content(struct run *r)
{
	const char *dir = cli_option(r->cli, "upload");
	char err[600];

	if (r->cli->n_words && tree_open(r->loop, r->cli->words[0], err, sizeof err, &r->tree) < 0)
		return cli_fail(r->cli, "%s", err);
	if (dir && uploads_open(r->loop, dir, r->limit, err, sizeof err, &r->uploads) < 0)
		return cli_fail(r->cli, "--upload %s", err);
	if (r->port)
		(void)snprintf(r->name, sizeof r->name, "%.200s port %u", r->host, r->port);
	else
		(void)snprintf(r->name, sizeof r->name, "%s", r->tree ? tree_name(r->tree) : "upload");
	return 0;
}

/* ---- its HTTP server ---- */

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct run *r = arg;

	(void)local;
	share_server_take(r->server, fd, peer);
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept };

static bool on_other(struct httpd_rq *rq, void *arg)
{
	return share_forward_asked(((struct run *)arg)->forward, rq);
}

static int begin_server(struct run *r)
{
	const struct share_server_options o = { .loop = r->loop, .code = &r->code, .name = r->name, .tree = r->tree, .uploads = r->uploads,
						.once = cli_has(r->cli, "once"), .expires = r->expires, .event = on_event, .plain = r->forward != NULL,
						.page = r->forward ? share_forward_page : NULL, .other = r->forward ? on_other : NULL, .arg = r };
	struct sockaddr_storage ss;
	socklen_t n = sizeof ss;
	char holder[128];
	int fd = -1, bad = share_server_new(&o, &r->server);

	if (r->forward)
		r->at = *share_forward_inside(r->forward);
	else if (bad == 0)
		bad = addr_parse(TEXT("127.0.0.1:0"), 0, &r->at);
	if (bad == 0)
		bad = stream_listen_socket(&r->at, &(struct listen_options){ 0 }, &fd);
	if (bad == 0)
		bad = acceptor_new(r->loop, fd, &acceptor_ops, r, &r->acceptor);
	if (bad == 0 && getsockname(fd, (struct sockaddr *)&ss, &n) == 0)
		(void)addr_from_sockaddr((struct sockaddr *)&ss, n, &r->at);
	if (bad == -EADDRINUSE && port_holder(addr_port(&r->at), false, holder, sizeof holder))
		return cli_fail(r->cli, "port %u is held by %s; another --base-port makes another port", addr_port(&r->at), holder);
	if (bad == 0 && !r->json && isatty(STDOUT_FILENO)) {
		r->progress.fire = on_progress;
		loop_timer_set(r->loop, &r->progress, PROGRESS_MS);
	}
	return bad < 0 ? cli_fail(r->cli, "cannot serve: %s", strerror(-bad)) : 0;
}

/* ---- the agent's word ---- */

static void make_link(struct run *r, const json_t *news, char *code)
{
	const char *url = text_of_key(news, "url"), *place = text_of_key(news, "place");
	struct share_code with = r->code;
	struct text port = text_of(place), host = text_cut(&port, ':');
	uint64_t n;

	if (*place == '[') { /* [address]:port */
		port = text_drop(text_of(place), 1);
		host = text_cut(&port, ']');
		port = text_drop(port, 1);
	}
	if (host.n && host.n < sizeof with.host && text_u64(port, &n) == 0 && n && n <= UINT16_MAX) {
		memcpy(with.host, host.p, host.n);
		with.host[host.n] = '\0';
		with.port = (uint16_t)n;
		with.n_more = r->n_order;
		memcpy(with.more, r->order, sizeof with.more);
	}
	(void)share_code_write(&with, code);
	r->link[0] = '\0';
	if (*url && !r->port)
		(void)snprintf(r->link, sizeof r->link, "%.400s/s/%s#%s", url, r->id, code);
	bytes_wipe(&with, sizeof with);
}

static void print_ready(struct run *r, const char *code)
{
	char text[64];
	struct sb b = sb_init(text, sizeof text);

	if (r->json) {
		put_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "ready", "code", code, "link", r->link, "id", r->id, "name", r->name));
		return;
	}
	printf("Sharing "), print_clean(stdout, r->name);
	if (r->tree)
		sb_size(&b, tree_total(r->tree)), printf(" (%s%s)", tree_is_dir(r->tree) ? "a folder, " : "", text);
	if (r->uploads && r->tree)
		printf(", and taking files");
	printf("\n\n  stile get %s\n", code);
	if (r->link[0]) {
		printf("\n  %s\n\n", r->link);
		if (isatty(STDOUT_FILENO))
			share_qr_print(stdout, r->link);
	} else if (!r->port) {
		printf("\n  No link for browsers: the server has no gateway (tunnel.gateway_url).\n\n");
	}
	printf("Whoever has this has the share%s. Ctrl-C ends it.\n", cli_has(r->cli, "once") ? ", the first one alone" : "");
	fflush(stdout);
}

static void send_by_sip(struct run *r, const char *code);

/* As it was begun with, or as the agent says now: stile agent share change. */
static void end_at(struct run *r, uint64_t at)
{
	uint64_t now = (uint64_t)time(NULL);

	r->expires = at;
	if (r->server)
		share_server_expires(r->server, at);
	timer_stop(&r->end);
	if (r->port && at)
		loop_timer_set(r->loop, &r->end, at > now ? MIN(at - now, (uint64_t)LATER_MAX_S) * 1000 : 0);
}

static void on_expires(struct run *r, uint64_t at)
{
	char line[80] = "the agent's administrator has said that it does not end by itself";
	time_t t = (time_t)at;
	struct tm tm;

	if (at == r->expires)
		return;
	end_at(r, at);
	agent_watch_set(&r->watch, "expires", json_integer((json_int_t)at)); /* so that it holds when the agent is restarted */
	if (at && localtime_r(&t, &tm))
		(void)strftime(line, sizeof line, "it ends at %Y-%m-%d %H:%M:%S, the agent's administrator says", &tm);
	say(r, "expires", line);
}

static void on_news(struct run *r, const json_t *news)
{
	const char *why = text_of_key(news, "why");
	bool found = strcmp(text_of_key(news, "state"), "found") == 0;
	char code[SHARE_CODE_STRLEN];

	if (json_object_get(news, "expires")) /* an older agent does not say */
		on_expires(r, (uint64_t)number_of_key(news, "expires"));

	if (found && !r->told) {
		r->told = true;
		make_link(r, news, code);
		print_ready(r, code);
		send_by_sip(r, code);
	}
	if (strcmp(found ? "" : why, r->state) != 0) {
		(void)snprintf(r->state, sizeof r->state, "%s", found ? "" : why);
		say(r, found ? "found" : "waiting", found ? "the share can be reached again" : why);
	}
}

static void deliver_news(struct mail *m, struct loop *l)
{
	struct run *r = container_of(m, struct run, mail);
	struct agent_watch *w = &r->watch;
	json_t *news;
	char error[600];
	bool over, there;

	(void)l;
	pthread_mutex_lock(&r->lock);
	r->mailed = false;
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_lock(&w->lock);
	news = w->last ? json_deep_copy(w->last) : NULL;
	over = w->over;
	there = w->there;
	memcpy(error, w->error, sizeof error);
	pthread_mutex_unlock(&w->lock);
	if (over || (!there && !r->told)) {
		end_progress(r);
		r->result = cli_fail(r->cli, "%s", error);
		loop_stop(r->loop);
	} else if (there && news) {
		on_news(r, news);
	} else if (!there && strcmp(r->state, error) != 0) {
		(void)snprintf(r->state, sizeof r->state, "%s", error);
		say(r, "waiting", error);
	}
	json_decref(news);
}

static void from_thread(struct agent_watch *w)
{
	struct run *r = w->arg;
	bool post;

	pthread_mutex_lock(&r->lock);
	post = !r->mailed;
	r->mailed = true;
	pthread_mutex_unlock(&r->lock);
	if (post)
		loop_post(r->loop, &r->mail);
}

static int ask_agent(struct run *r)
{
	char knock[2 * SHARE_KNOCK + 1];
	json_t *args;
	int bad;

	hex_encode(r->keys.knock, SHARE_KNOCK, knock);
	args = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I}", "share", r->id, "name", r->name, "knock", knock, "kind", r->port ? "tcp" : "http", "host",
			 r->port ? r->host : "127.0.0.1", "port", (int)(r->port ? r->port : addr_port(&r->at)), "expires", (json_int_t)r->expires);
	bytes_wipe(knock, sizeof knock);
	r->watch.news = from_thread;
	r->watch.arg = r;
	bad = agent_watch_start(&r->watch, r->cli, NULL, "agent.share", args);
	return bad < 0 ? cli_fail(r->cli, "cannot ask the agent: %s", strerror(-bad)) : 0;
}

/* ---- the link by SIP ---- */

static void on_sip_said(const char *event, const char *line, void *arg)
{
	say(arg, event, line);
}

static void send_by_sip(struct run *r, const char *code)
{
	const char *to = cli_option(r->cli, "to");
	char text[1400];

	(void)snprintf(text, sizeof text, "%s: %s", r->name, r->link[0] ? r->link : code);
	if (to)
		share_sip_send_aside(&(struct share_sip_aside){ r->cli, r->loop, to, on_sip_said, r }, text);
	bytes_wipe(text, sizeof text);
}

/* ---- port-forwarding mode ---- */

static void on_forward_says(const char *event, const char *text, json_t *more, void *arg)
{
	struct run *r = arg;

	if (r->json) {
		json_t *o = json_pack("{s:s, s:s}", "event", event, "text", text);
		json_object_update(o, more);
		put_json(o);
	} else {
		say(r, event, text);
	}
	json_decref(more);
}

static void on_forward_ready(const char *url, const char *rule, bool again, void *arg)
{
	struct run *r = arg;
	char code[SHARE_CODE_STRLEN];

	(void)share_code_write(&r->code, code);
	(void)snprintf(r->link, sizeof r->link, "%.400s/s/%s/#%s", url, r->id, code);
	if (r->json) {
		put_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "event", again ? "moved" : "ready", "code", code, "link", r->link, "id", r->id, "name", r->name,
				   "rule", rule));
	} else {
		if (again)
			printf("  The public address has changed; this is the link now:\n");
		else
			printf("Sharing "), print_clean(stdout, r->name), printf(" by a port of the router, not encrypted on the way\n");
		printf("\n  %s\n\n", r->link);
		if (isatty(STDOUT_FILENO))
			share_qr_print(stdout, r->link);
		printf("  rule of the router: %s\n", rule);
		if (!again)
			printf("Whoever has this has the share%s. Ctrl-C ends it.\n", cli_has(r->cli, "once") ? ", the first one alone" : "");
		fflush(stdout);
	}
	send_by_sip(r, code);
}

static int read_order(struct run *r)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;

	if (share_config_load(cli_config_path(r->cli), cli_has(r->cli, "config"), &cfg) < 0)
		return EXIT_USAGE;
	r->n_order = share_told_order(&share_root_of(cfg)->share, r->order);
	return 0;
}

static int find_port(struct run *r)
{
	const struct share_forward_options o = { .cli = r->cli, .loop = r->loop, .say = on_forward_says, .ready = on_forward_ready, .arg = r };

	if (!cli_has(r->cli, "forward"))
		return cli_has(r->cli, "base-port") || cli_has(r->cli, "interface") ? cli_wrong(r->cli, "--base-port and --interface belong to --forward") : 0;
	if (r->port)
		return cli_wrong(r->cli, "--tcp goes through the agent: without --forward");
	return share_forward_new(&o, &r->forward);
}

/* ---- life ---- */

static void on_signal(int signo, void *arg)
{
	(void)signo;
	loop_stop(arg);
}

static void on_time_over(struct timer *t, uint64_t now)
{
	struct run *r = container_of(t, struct run, end);

	(void)now;
	if (r->expires > (uint64_t)time(NULL)) { /* far away, or the clock was set */
		end_at(r, r->expires);
		return;
	}
	say(r, "done", "its time is over");
	loop_stop(r->loop);
}

static int begin(struct run *r)
{
	struct sigaction hangup;
	int bad = loop_new(&r->loop);

	if (bad < 0)
		return cli_fail(r->cli, "%s", strerror(-bad));
	bad = read_options(r);
	if (bad)
		return bad;
	if (share_code_make(&r->code) < 0 || share_keys_make(r->code.secret, &r->keys) < 0)
		return cli_fail(r->cli, "no random bytes");
	hex_encode(r->keys.id, SHARE_ID, r->id);
	r->mail.deliver = deliver_news;
	pthread_mutex_init(&r->lock, NULL);
	bad = read_order(r);
	if (bad == 0)
		bad = open_content(r);
	if (bad == 0)
		bad = find_port(r);
	if (bad == 0 && !r->port)
		bad = begin_server(r);
	if (bad)
		return bad;
	r->end.fire = on_time_over;
	end_at(r, r->expires);
	(void)loop_on_signal(r->loop, SIGINT, on_signal, r->loop);
	(void)loop_on_signal(r->loop, SIGTERM, on_signal, r->loop);
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* not by nohup: the router's port is to be shut */
		(void)loop_on_signal(r->loop, SIGHUP, on_signal, r->loop);
	return r->forward ? share_forward_begin(r->forward) : ask_agent(r);
}

static int run_share(struct cli *cli)
{
	static struct run r; /* the thread may look at it until the process ends */
	bool waited_for;

	r.cli = cli;
	r.json = cli_has(cli, "json");
	r.result = begin(&r);
	if (r.result == 0)
		(void)loop_run(r.loop);
	end_progress(&r);
	waited_for = r.watch.socket[0] || cli_has(cli, "to") || share_forward_tests(r.forward);
	share_forward_free(r.forward);
	acceptor_free(r.acceptor);
	share_server_free(r.server);
	uploads_free(r.uploads);
	tree_free(r.tree);
	fflush(stdout);
	timer_stop(&r.progress);
	timer_stop(&r.end);
	if (waited_for)
		_exit(r.result); /* a thread waits for the agent, and the loop is what it writes to */
	loop_free(r.loop);
	return r.result;
}

/* clang-format off */
static const struct option_row share_options[] = {
	{ "once", 0, NULL, "for one receiver: the first that begins has it, and it ends with that", false },
	{ "expire", 'e', "TIME", "ends by itself: 30m, 2h, 7d", false },
	{ "upload", 'u', "DIR", "take files, too, into this folder", false },
	{ "limit", 0, "SIZE", "bytes of all files that are taken (default 10GB)", false },
	{ "tcp", 't', "HOST:PORT", "share a service instead: stile get listens there, and leads to it", false },
	{ "forward", 'f', NULL, "port-forwarding mode: by a rule of the router, on base port and last octet of this machine's address", false },
	{ "base-port", 0, "PORT", "… on this base port (default share.base_port, else 8080)", false },
	{ "interface", 0, "NAME", "… on this interface, or own address (default: the one that leads to the outside)", false },
	{ "to", 0, "sip:USER@DOMAIN", "send the link as a SIP MESSAGE through the stile-sip of the configuration", false },
	{ "from", 0, "USER", "of sip.users: who sends it (default: the first)", false },
};
static const struct command rows[] = {
	{ "share", "[FILE|DIR]", "share a file, a folder or a service with whoever gets the code, over the stile-agent that runs here",
	  "Prints a code for stile get, and a link (with a QR code) for browsers where the server has a gateway. The other side needs no\n"
	  "account and nothing configured. It lasts as long as this command runs; Ctrl-C ends it. Content is encrypted with the code: servers in\n"
	  "between see sizes and times.\n\n"
	  "With --forward browsers come to this machine themselves, by plain HTTP, through a port of the router: the rule that it needs is\n"
	  "printed, and it is asked to open the port where it can be (UPnP, NAT-PMP, PCP). Content is not encrypted on this way.",
	  share_options, ARRAY_LEN(share_options), 0, 1, run_share, 0 },
};
/* clang-format on */
const struct command_table share_commands = { rows, ARRAY_LEN(rows) };
