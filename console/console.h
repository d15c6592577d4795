/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-console: what its files share.
 *
 *   service.c the program's life    listeners.c its addresses     routes.c the table of routes, and who may call each    ask.c a request under way
 *   accounts.c users, tokens    sessions.c who is logged in    login.c set-up, login, one's own account    users.c those of others, the audit
 *   password.c yescrypt in a thread    totp.c one-time codes    throttle.c who guesses waits
 *   backends.c the services by their control sockets    services.c the routes under /services
 *   tool.c the tool as a child    runs.c its self-tests    archives.c backups and logs by it    restores.c uploads that are put back
 *   shares.c shares that are made here
 *   events.c live data    load.c charts, this machine    scrape.c /metrics of all services    pages.c the embedded page
 *
 * One loop and, beside the frame's threads, one that hashes passwords. The console knows no service's business: it speaks to
 * their control sockets, and what a verb means is between the page and the service. Its own right there is an
 * administrator's; so each call is held against the role of the user, by the role that the verb itself demands.
 */
#pragma once
#include <string.h>
#include "common/bytes.h"
#include "common/httpd.h"
#include "common/service.h"
#include "console/config.h"
#include "console/listeners.h"

struct accounts;
struct backends;
struct archives;
struct made_shares;
struct events;
struct hasher;
struct load;
struct runs;
struct throttle;
struct session;

struct console {
	struct service *svc;
	struct httpd *http, *plain; /* plain: /metrics without a login */
	struct httpd *old; /* from before TLS came or went: its streams go on */
	struct httpd_tls *tls;
	struct listeners listeners;
	struct accounts *accounts;
	struct hasher *hasher;
	struct throttle *throttle;
	struct backends *backends;
	struct events *events;
	struct load *load;
	struct runs *runs;
	struct archives *archives;
	struct made_shares *shares;
	struct metrics *metrics;
	struct log_gate gate;
	char setup_token[40]; /* "" once there is an administrator */
	bool stopping;
};
static inline const struct console_config *console_config(const struct console *c)
{
	return &((const struct console_root *)cfg_values(c->svc->cfg))->console;
}
/* Takes the same time wherever the two differ; given may be NULL. */
static inline bool same_secret(const char *given, const char *want)
{
	size_t n = strlen(want);

	return given && strlen(given) == n && bytes_equal_ct(given, want, n);
}

/* ---- routes.c ---- */
enum { ROUTE_PARAMS = 2, PARAM_MAX = 512 };
enum route_flag {
	ROUTE_OPEN = 1 << 0,	/* without a login */
	ROUTE_BODY = 1 << 1,	/* has a JSON object as its body; it may be missing */
	ROUTE_METRICS = 1 << 2, /* a token of the scope metrics will do */
	ROUTE_LONG = 1 << 3,	/* its body may be large: a backup */
	ROUTE_READ = 1 << 4,	/* changes nothing although it is no GET */
	ROUTE_BYTES = 1 << 5,	/* its body is a file, which the handler takes in pieces; at its end: ask_may() */
	ROUTE_TOOL = 1 << 6,	/* the tool may call it, too, by the verb console.api: it is about the console itself */
};
struct ask;
struct route {
	const char *method, *pattern; /* "/api/v1/services/{service}/verbs/{verb}" */
	enum control_role role;
	unsigned flags;
	void (*handle)(struct ask *a);
};
extern const struct route console_routes[];
extern const size_t console_n_routes;
void console_on_request(struct httpd_rq *rq, void *arg /* struct console */);
void console_on_metrics(struct httpd_rq *rq, void *arg); /* of the plain listener */
void console_on_tool(struct control_request *rq, const json_t *args, void *arg /* struct console */); /* the verb console.api */
/* Who asks, and whether he may: fills in a->who. False: answered. Asked at the head of a request, and again when its body is there. */
bool ask_may(struct ask *a);
/* And behind what took time, as a hash does. Nothing is done any more for who has gone; the tool has the right of its socket. */
bool ask_may_still(struct ask *a);
extern const char console_csp[];

/* ---- ask.c ---- */
enum { SCOPE_READ = 1, SCOPE_WRITE = 2, SCOPE_METRICS = 4 };
struct identity {
	char name[64]; /* of the user, or "token NAME" */
	char user[64]; /* whose it is: of a token its maker */
	enum control_role role;
	unsigned scope;		/* of a token; a session has all */
	struct session *session; /* NULL: a token. Only until the handler has returned: ask_session() later */
	char id[65]; /* of the session, or of the token */
};
struct ask {
	struct console *c;
	struct httpd_rq *rq; /* NULL: its client has gone, or it is the tool */
	struct if_match { /* of ask_if_match() */
		bool read;
		int result;
		uint64_t revision;
	} if_match;
	struct control_request *control; /* the tool's, until it is answered */
	const char *query;		 /* of the tool, while the handler runs */
	const struct route *route;
	char params[ROUTE_PARAMS][PARAM_MAX];
	struct identity who;
	json_t *body; /* an object, or NULL */
	unsigned refs;
	/* of the handler */
	void *state;
	void (*state_free)(void *);
	uint64_t call;	/* under way at call_of, for its cancel */
	void (*on_gone)(struct ask *a); /* its client went before the answer */
};
struct ask *ask_new(struct console *c, struct httpd_rq *rq);
struct ask *ask_new_tool(struct console *c, struct control_request *rq);
/* A value of the query: as httpd_query_value(), and -EINVAL if it is no UTF-8. */
int ask_query(const struct ask *a, const char *name, char *out, size_t n);
struct ask *ask_ref(struct ask *a);
struct ask *ask_unref(struct ask *a); /* returns NULL */
/* j is taken; NULL (no memory) is a 500. Nothing happens if the client has gone, or was answered. */
void ask_reply(struct ask *a, unsigned status, json_t *j);
void ask_fail(struct ask *a, unsigned status, const char *code, const char *fmt, ...) _printf_(4, 5);
void ask_fail_json(struct ask *a, unsigned status, json_t *error); /* taken: {code, text, …} */
void ask_field_error(struct ask *a, const char *path, const char *fmt, ...) _printf_(3, 4); /* 400 with fields */
/* A service's error object as an answer, with the status of its code. */
void ask_service_error(struct ask *a, const json_t *error);
/* If-Match of the request: 0 and the revision that it names; -ENOENT: none, or any ("*"), or the tool asks; -EINVAL: answered, it is
 * no revision. Asked again when its client has gone it is what it was. */
int ask_if_match(struct ask *a, uint64_t *ret_revision);
/* "console alice" for audits and logs */
const char *ask_as(const struct ask *a, char buf[static 96]);
struct session *ask_session(const struct ask *a); /* NULL: a token's, or it has ended meanwhile */
const char *ask_string(const struct ask *a, const char *key); /* of the body; NULL: not there, or no string */
void ask_log(const struct ask *a, const char *what, const char *of);
void ask_audit(struct ask *a, const char *what, const char *of, const json_t *args); /* that, and a row of the console's own audit */
/* Of a new one; false, and answered, if it is too short or too long. NULL is too short. */
bool ask_password_is_good(struct ask *a, const char *password);
/* An account_done_fn: the answer of a change that says no more than that it is kept. Takes the caller's reference. */
void ask_on_saved(int r, void *arg);
/* Headers that each answer has. */
void console_add_headers(const struct console *c, struct httpd_rq *rq, bool cacheable);
void console_count(struct console *c, unsigned status);

/* ---- the handlers of the table ---- */
void setup_get(struct ask *a), setup_post(struct ask *a), login_post(struct ask *a), logout_post(struct ask *a), me_get(struct ask *a),
	me_put(struct ask *a), totp_post(struct ask *a), qr_post(struct ask *a), totp_confirm(struct ask *a), totp_off(struct ask *a);
void users_get(struct ask *a), users_post(struct ask *a), user_put(struct ask *a), user_delete(struct ask *a), tokens_get(struct ask *a),
	tokens_post(struct ask *a), token_delete(struct ask *a), sessions_get(struct ask *a), session_delete(struct ask *a),
	audit_get(struct ask *a);
void services_get(struct ask *a), service_get(struct ask *a), service_act(struct ask *a), verbs_get(struct ask *a), verb_get(struct ask *a),
	verb_post(struct ask *a), config_get(struct ask *a), config_put(struct ask *a), config_delete(struct ask *a),
	objects_get(struct ask *a), object_put(struct ask *a), object_delete(struct ask *a), changes_post(struct ask *a),
	change_get(struct ask *a), change_validate(struct ask *a), change_commit(struct ask *a), change_abort(struct ask *a),
	confirm_post(struct ask *a), undo_post(struct ask *a), service_audit_get(struct ask *a);
void events_get(struct ask *a), load_get(struct ask *a), system_get(struct ask *a), metrics_get(struct ask *a), healthz_get(struct ask *a),
	readyz_get(struct ask *a), openapi_get(struct ask *a);
void pages_serve(struct console *c, struct httpd_rq *rq); /* everything that is no route */

/* ---- password.c ---- */
enum { PASSWORD_MIN = 10, PASSWORD_MAX = 256, HASH_MAX = 384 };
typedef void (*hash_done_fn)(bool match, const char *hash, void *arg);
int hasher_new(struct loop *home, struct hasher **ret_h);
struct hasher *hasher_free(struct hasher *h);
/* Both in the thread; done comes in the home loop. -EBUSY: too many wait. hash NULL: as long as for a real one, and no match. The hash of a
 * check that matches is the one it was checked against: the account may have another one by then. */
int hasher_make(struct hasher *h, const char *password, hash_done_fn done, void *arg);
int hasher_check(struct hasher *h, const char *password, const char *hash, hash_done_fn done, void *arg);

/* ---- totp.c ---- */
enum { TOTP_SECRET = 20, TOTP_STEP_S = 30, TOTP_TEXT = 40 };
void totp_base32(const uint8_t *p, size_t n, char *out /* TOTP_TEXT */);
/* The step in which this code is right, within one step of now and behind last; 0: none. */
uint64_t totp_check(const uint8_t secret[static TOTP_SECRET], const char *code, int64_t unix_s, uint64_t last);
unsigned totp_code(const uint8_t secret[static TOTP_SECRET], uint64_t step);
char *totp_qr_svg(const char *text); /* malloc'd; NULL without memory */

/* ---- throttle.c ---- */
int throttle_new(struct throttle **ret_t);
struct throttle *throttle_free(struct throttle *t);
/* How long who has to wait before it may try again, in ms; 0: go on. */
uint64_t throttle_wait(struct throttle *t, const char *account, const struct addr *peer, uint64_t now);
void throttle_failed(struct throttle *t, const char *account, const struct addr *peer, uint64_t now);
void throttle_good(struct throttle *t, const char *account, const struct addr *peer);

/* ---- accounts.c ---- */
struct user {
	struct list node;
	char name[64], language[8], hash[HASH_MAX];
	enum control_role role;
	bool totp;
	uint8_t totp_secret[TOTP_SECRET];
	uint64_t totp_last; /* step of the last code that was taken: none is taken twice */
	uint8_t totp_new[TOTP_SECRET]; /* shown, and not confirmed yet */
	bool totp_pending;
	int64_t created_at;
	struct user_kept {
		enum control_role role;
		char language[8], hash[HASH_MAX];
		bool totp;
		uint8_t totp_secret[TOTP_SECRET];
	} kept; /* as the store has it: what it does not take is undone */
	uint64_t saving; /* the last save that is under way; 0: none */
	bool leaving; /* his removal is under way */
};
struct session {
	struct list node;
	char id[65]; /* SHA-256 of the cookie, hex: what the store and the list know */
	char csrf[48];
	struct user *user;
	int64_t created_at, seen_at;
	int64_t stored_at; /* seen_at as it was last written */
	char address[ADDR_STRLEN], agent[120];
};
struct token {
	struct list node;
	char id[24], name[64], user[64], hash[65];
	enum control_role role;
	unsigned scope;
	int64_t created_at, expires_at, used_at; /* expires 0: never */
	bool leaving; /* its removal is under way */
};
enum { USERS_MAX = 1000, SESSIONS_MAX = 2000, TOKENS_MAX = 1000 };
struct accounts {
	struct console *c;
	struct list users, sessions, tokens;
	unsigned n_users, n_sessions, n_tokens;
	uint64_t n_saved; /* users' saves, which are numbered by it */
};
extern const struct store_kind console_store_kinds[];
int accounts_new(struct console *c, char *err, size_t err_n, struct accounts **ret_a); /* reads the store */
struct accounts *accounts_free(struct accounts *a);
struct user *user_find(const struct accounts *a, const char *name); /* NULL: there is none, or his removal is under way */
bool user_name_is_good(const char *name);
unsigned accounts_admins(const struct accounts *a);
/* Each writes to the store; fn (may be NULL) comes when it is on the disk, or with its reason: then who or what was to be removed
 * is there as before. */
typedef void (*account_done_fn)(int r, void *arg);
struct user *user_add(struct accounts *a, const char *name, enum control_role role, const char *hash);
void user_save(struct accounts *a, struct user *u, const char *who, account_done_fn fn, void *arg);
void user_took_code(struct accounts *a, struct user *u, uint64_t step); /* a one-time code, of this step */
void user_remove(struct accounts *a, struct user *u, const char *who, account_done_fn fn, void *arg); /* with sessions and tokens */
struct token *token_add(struct accounts *a, const struct token *like, const char *who, char secret[static 64], account_done_fn fn, void *arg);
struct token *token_of_secret(struct accounts *a, const char *secret);
void token_remove(struct accounts *a, struct token *t, const char *who, account_done_fn fn, void *arg);
void accounts_sweep(struct accounts *a); /* whose time is over looks on no longer */
const char *role_name(enum control_role r);
int role_parse(const char *s, enum control_role *ret_r);
json_t *scope_json(unsigned scope);
int scope_parse(const json_t *list, unsigned *ret_scope); /* -EINVAL: none, or not only such words; ret_scope has those that are */
/* Calls of verbs and actions, for the audit. */
void accounts_audit_action(struct accounts *a, const char *who, const char *service, json_t *what /* taken */);

void sha256_hex(const char *s, char out[static 65]);
/* State, by the console itself: nobody waits, and the next one says the same. body is taken. */
void accounts_keep(struct accounts *a, const char *kind, const char *key, json_t *body);
void accounts_drop(struct accounts *a, const char *kind, const char *key);

/* ---- sessions.c ---- */
enum { COOKIE_LEN = 44 };
struct session *session_add(struct accounts *a, struct user *u, const struct addr *peer, const char *agent, char cookie[static COOKIE_LEN]);
struct session *session_of_cookie(struct accounts *a, const char *cookie); /* NULL: none, or ended; else it was used now */
void session_remove(struct accounts *a, struct session *s);
void sessions_remove_of(struct accounts *a, const struct user *u, const struct session *but);
void session_free(struct accounts *a, struct session *s); /* it stays in the store */
int sessions_load(struct accounts *a); /* when the users are there: as store_load() */
void sessions_sweep(struct accounts *a); /* those that have ended go */

/* ---- events.c ---- */
enum { EVENTS_KEEP_MS = 5 * 60 * 1000 };
/* keep_ms: so long can a page that was away still have an event. */
int events_new(struct console *c, uint64_t keep_ms, struct events **ret_e);
struct events *events_free(struct events *e);
void events_publish(struct events *e, const char *service, const char *topic, const json_t *data);
void events_lost(struct events *e, const char *service, uint64_t n);
json_t *events_topics(const struct events *e, const char *service); /* array wanted of it; empty: none */
bool events_wanted(const struct events *e, const char *service, const char *topic);
void events_end_of(struct events *e, const char *id); /* streams of this session or token end */
unsigned events_streams(const struct events *e);

/* ---- backends.c ---- */
struct control_link;
struct backend {
	struct list node;
	struct backends *of;
	char service[100], program[32], instance[64]; /* "turn@lab" */
	char path[512];
	struct control_link *link; /* NULL: not connected */
	json_t *hello, *status, *health, *verbs;
	json_t *managed; /* its row of common/manager.h; NULL: nobody looks after it */
	int error;	     /* of the last attempt */
	bool here;	     /* its socket is there */
	bool late;	     /* it did not answer the last time */
	bool asked;	     /* a status is under way */
	uint64_t status_at; /* loop time */
	char shown[32];	     /* state of the last event */
};
int backends_new(struct console *c, struct backends **ret_b);
struct backends *backends_free(struct backends *b);
struct backend *backend_find(struct backends *b, const char *service);
void backends_each(struct backends *b, void (*fn)(struct backend *k, void *arg), void *arg);
const char *backend_state(const struct backend *k);
json_t *backend_json(const struct backend *k);
json_t *backends_json(struct backends *b);
void backends_topics_changed(struct backends *b);
/* start, stop or restart through whoever looks after the service. 0: done follows; -ENOSYS: nobody does; -EBUSY. */
int backend_manage(struct backend *k, const char *action, void (*done)(int r, const json_t *row, const char *err, void *arg), void *arg);
bool backends_ready(const struct backends *b);
/* The role that a verb with these arguments (may be NULL) demands: 0; 1: for one of them; -ENOENT: the service has none of this name. */
int backend_verb_role(const struct backend *k, const char *verb, const json_t *args, enum control_role *ret_role);
const char *backend_verb_help(const struct backend *k, const char *verb); /* "": none */

/* ---- load.c ---- */
int load_new(struct console *c, struct load **ret_l);
struct load *load_free(struct load *l);

/* ---- scrape.c: Prometheus text of several services as one ---- */
struct scrape;
struct scrape *scrape_new(void);
struct scrape *scrape_free(struct scrape *s);
/* Samples of text get the labels service and instance. 0, -EINVAL (no Prometheus text) or -ENOMEM. */
int scrape_add(struct scrape *s, const char *service, const char *instance, const char *text);
char *scrape_text(const struct scrape *s); /* malloc'd */

/* ---- metrics of the console itself ---- */
enum console_metric { CONSOLE_M_REQUESTS, CONSOLE_M_REFUSED, CONSOLE_M_CONNECTIONS, CONSOLE_M_STREAMS, CONSOLE_M_LOGINS, CONSOLE_METRICS };
enum { CONSOLE_LOGIN_GOOD, CONSOLE_LOGIN_BAD, CONSOLE_LOGIN_THROTTLED };
extern const struct metric_row console_metric_rows[CONSOLE_METRICS];
