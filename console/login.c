/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set-up of the first administrator, login and logout, and one's own account. Whoever is refused at a login learns one
 * text, whatever was wrong; that a code is asked for is told only to who has shown the password.
 *
 * Hashes are made in another thread: a handler goes on when its hash is there, and looks at everything anew then, because the
 * user may have been removed meanwhile, or have another password: one that was right is not enough, it is still to be his.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "console/log_msgs.h"

/* ---- the answer of a login ---- */

static json_t *me_json(const struct ask *a, const struct session *s)
{
	const struct console_config *k = console_config(a->c);
	int64_t idle = s->seen_at + (int64_t)k->session_idle_ms, life = s->created_at + (int64_t)k->session_life_ms;

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:I}", "user", s->user->name, "role", role_name(s->user->role), "csrf", s->csrf,
			 "language", s->user->language, "totp", s->user->totp, "expires_at", (json_int_t)MIN(idle, life));
}

static void begin_session(struct ask *a, struct user *u)
{
	char cookie[COOKIE_LEN];
	struct session *s;

	if (!a->rq)
		return;
	s = session_add(a->c->accounts, u, httpd_peer(a->rq), httpd_field(a->rq, "User-Agent"), cookie);
	if (!s) {
		ask_reply(a, 500, NULL);
		return;
	}
	httpd_add(a->rq, "Set-Cookie", "__Host-stile=%s; Path=/; Secure; HttpOnly; SameSite=Strict", cookie);
	log_emit(&MSG_CONSOLE_LOGIN, LF_STR("user", u->name), LF_ADDR("client", httpd_peer(a->rq)));
	metric_add(a->c->metrics, 0, CONSOLE_M_LOGINS, CONSOLE_LOGIN_GOOD, 1);
	ask_reply(a, 200, me_json(a, s));
}

/* False, and answered, while who fails too often has to wait. */
static bool is_its_turn(struct ask *a, const char *account)
{
	uint64_t wait = throttle_wait(a->c->throttle, account, httpd_peer(a->rq), loop_now(a->c->svc->loop));

	if (!wait)
		return true;
	metric_add(a->c->metrics, 0, CONSOLE_M_LOGINS, CONSOLE_LOGIN_THROTTLED, 1);
	httpd_add(a->rq, "Retry-After", "%u", (unsigned)(wait / 1000 + 1));
	ask_fail(a, 429, "throttled", "too many failed attempts; try again in %u s", (unsigned)(wait / 1000 + 1));
	return false;
}

static void login_failed(struct ask *a, const char *account)
{
	struct addr peer = a->rq ? *httpd_peer(a->rq) : (struct addr){ 0 };
	uint64_t suppressed;

	throttle_failed(a->c->throttle, account, &peer, loop_now(a->c->svc->loop));
	metric_add(a->c->metrics, 0, CONSOLE_M_LOGINS, CONSOLE_LOGIN_BAD, 1);
	if (log_gate_pass(&a->c->gate, loop_now(a->c->svc->loop), &suppressed))
		log_emit(&MSG_CONSOLE_LOGIN_FAILED, LF_STR("user", account), LF_ADDR("client", &peer));
	ask_fail(a, 401, "bad-login", "user, password or code are wrong");
}

/* False, and answered; NULL is none, which is good. */
static bool language_is_good(struct ask *a, const char *language)
{
	if (!language || strcmp(language, "en") == 0 || strcmp(language, "de") == 0 || strcmp(language, "it") == 0)
		return true;
	ask_field_error(a, "language", "must be en, de or it");
	return false;
}

static void take_language(const struct ask *a, struct user *u)
{
	const char *language = ask_string(a, "language");

	if (language)
		(void)snprintf(u->language, sizeof(u->language), "%.7s", language);
}

static void queued(struct ask *a, int r)
{
	if (r == 0)
		return;
	if (r == -EBUSY)
		ask_fail(a, 503, "busy", "too many logins at this moment; try again");
	else
		ask_reply(a, 500, NULL);
	ask_unref(a);
}

/* ---- set-up ---- */

void setup_get(struct ask *a)
{
	ask_reply(a, 200, json_pack("{s:b, s:s}", "needed", a->c->setup_token[0] != 0, "version", STILE_VERSION));
}

static void on_first_saved(int r, void *arg)
{
	struct ask *a = arg;
	struct user *u = user_find(a->c->accounts, ask_string(a, "user"));

	if (r == 0 && u) {
		a->c->setup_token[0] = 0;
		begin_session(a, u);
	} else {
		if (u)
			user_remove(a->c->accounts, u, "console", NULL, NULL);
		ask_fail(a, 500, "failed", "the account cannot be kept: the store is full or failing");
	}
	ask_unref(a);
}

static void on_first_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	struct user *u = NULL;

	(void)match;
	if (*hash && a->c->setup_token[0] && accounts_admins(a->c->accounts) == 0)
		u = user_add(a->c->accounts, ask_string(a, "user"), CONTROL_ADMIN, hash);
	if (!u) {
		ask_fail(a, 409, "exists", "the set-up is done already");
		ask_unref(a);
		return;
	}
	take_language(a, u);
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", "first administrator"), LF_STR("user", u->name));
	user_save(a->c->accounts, u, "console set-up", on_first_saved, a);
}

void setup_post(struct ask *a)
{
	const char *user = ask_string(a, "user"), *password = ask_string(a, "password"), *language = ask_string(a, "language");

	if (!is_its_turn(a, ""))
		return;
	if (!a->c->setup_token[0]) {
		ask_fail(a, 409, "exists", "the set-up is done already");
		return;
	}
	if (!same_secret(ask_string(a, "token"), a->c->setup_token)) {
		throttle_failed(a->c->throttle, "", httpd_peer(a->rq), loop_now(a->c->svc->loop));
		ask_fail(a, 403, "bad-token", "the one-time token is wrong; `stile console setup` shows it");
		return;
	}
	if (!user_name_is_good(user))
		ask_field_error(a, "user", "a name has 1 to 63 bytes, and neither '/' nor control characters");
	else if (language_is_good(a, language) && ask_password_is_good(a, password))
		queued(a, hasher_make(a->c->hasher, password, on_first_hash, ask_ref(a)));
}

/* ---- login ---- */

static void on_login_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	const char *name = ask_string(a, "user"), *code = ask_string(a, "totp");
	struct user *u = user_find(a->c->accounts, name);
	uint64_t step = 0;

	match = match && u && same_secret(hash, u->hash);
	if (a->rq && !is_its_turn(a, name)) { /* who came in a crowd, before the first of them had failed, learns nothing either */
		ask_unref(a);
		return;
	}
	if (match && u->totp && code)
		step = totp_check(u->totp_secret, code, clock_unix_ms() / 1000, u->totp_last);
	if (!match || (u->totp && code && !step)) {
		login_failed(a, name);
	} else if (u->totp && !code) {
		ask_fail(a, 401, "totp-needed", "this account asks for a one-time code, too");
	} else {
		if (step)
			user_took_code(a->c->accounts, u, step);
		throttle_good(a->c->throttle, name, a->rq ? httpd_peer(a->rq) : &(struct addr){ 0 });
		begin_session(a, u);
	}
	ask_unref(a);
}

void login_post(struct ask *a)
{
	const char *name = ask_string(a, "user"), *password = ask_string(a, "password");
	struct user *u;

	if (!name || !password || strlen(password) > PASSWORD_MAX) {
		ask_fail(a, 400, "bad-request", "user and password are asked for");
		return;
	}
	if (!is_its_turn(a, name))
		return;
	u = user_find(a->c->accounts, name);
	queued(a, hasher_check(a->c->hasher, password, u ? u->hash : NULL, on_login_hash, ask_ref(a)));
}

static bool has_session(struct ask *a)
{
	if (a->who.session)
		return true;
	ask_fail(a, 400, "bad-request", "this is about the session of a user, not about a token");
	return false;
}

void logout_post(struct ask *a)
{
	if (!has_session(a))
		return;
	log_emit(&MSG_CONSOLE_LOGOUT, LF_STR("user", a->who.name));
	session_remove(a->c->accounts, a->who.session);
	httpd_add(a->rq, "Set-Cookie", "__Host-stile=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
	ask_reply(a, 200, json_object());
}

/* ---- one's own account ---- */

void me_get(struct ask *a)
{
	if (a->who.session)
		ask_reply(a, 200, me_json(a, a->who.session));
	else
		ask_reply(a, 200, json_pack("{s:s, s:s}", "user", a->who.name, "role", role_name(a->who.role)));
}

static void save_me(struct ask *a, struct user *u) /* with the caller's reference */
{
	char as[96];

	user_save(a->c->accounts, u, ask_as(a, as), ask_on_saved, a);
}

/* He who still asks, if this hash, which his password has, is still the account's. NULL: answered, and the caller's reference is given up. */
static struct user *proved(struct ask *a, bool match, const char *hash)
{
	struct user *u = NULL;

	if (ask_may_still(a) && is_its_turn(a, a->who.name)) {
		u = user_find(a->c->accounts, a->who.name);
		if (!match || !u || !same_secret(hash, u->hash)) {
			login_failed(a, a->who.name);
			u = NULL;
		}
	}
	if (!u)
		ask_unref(a);
	return u;
}

static void on_new_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	struct user *u = proved(a, true, a->state);

	(void)match;
	if (!u)
		return;
	if (!*hash) {
		ask_reply(a, 500, NULL);
		ask_unref(a);
		return;
	}
	take_language(a, u);
	(void)snprintf(u->hash, sizeof(u->hash), "%s", hash);
	sessions_remove_of(a->c->accounts, u, ask_session(a)); /* whoever knew the old one */
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", "password"), LF_STR("user", u->name));
	save_me(a, u);
}

static void on_old_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;

	if (!proved(a, match, hash))
		return;
	a->state = strdup(hash); /* for it is asked again when the new one is there */
	a->state_free = free;
	queued(a, a->state ? hasher_make(a->c->hasher, ask_string(a, "password"), on_new_hash, a) : -ENOMEM);
}

void me_put(struct ask *a)
{
	const char *language = ask_string(a, "language"), *password = ask_string(a, "password"), *old = ask_string(a, "old_password");
	struct user *u;

	if (!has_session(a))
		return;
	u = a->who.session->user;
	if (!language_is_good(a, language))
		return;
	if (!password) {
		take_language(a, u);
		save_me(ask_ref(a), u);
		return;
	}
	if (!old || strlen(old) > PASSWORD_MAX)
		ask_field_error(a, "old_password", "the old password is asked for");
	else if (ask_password_is_good(a, password) && is_its_turn(a, a->who.name))
		queued(a, hasher_check(a->c->hasher, old, u->hash, on_old_hash, ask_ref(a)));
}

/* ---- one-time codes ---- */

/* "otpauth://totp/Stile:alice?secret=…&issuer=Stile": the name, escaped. */
static void totp_uri(const struct user *u, const char *secret, char *out, size_t n)
{
	struct sb b = sb_init(out, n);

	sb_str(&b, "otpauth://totp/Stile:");
	for (const char *p = u->name; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '.' || *p == '-' || *p == '_';

		if (plain)
			sb_char(&b, *p);
		else
			sb_fmt(&b, "%%%02X", (unsigned char)*p);
	}
	sb_fmt(&b, "?secret=%s&issuer=Stile&algorithm=SHA1&digits=6&period=30", secret);
}

void totp_post(struct ask *a)
{
	char secret[TOTP_TEXT], uri[512];
	struct user *u;
	char *svg;

	if (!has_session(a))
		return;
	u = a->who.session->user;
	if (u->totp) {
		ask_fail(a, 409, "exists", "one-time codes are on; switch them off first");
		return;
	}
	if (bytes_random(u->totp_new, sizeof(u->totp_new)) < 0) {
		ask_reply(a, 500, NULL);
		return;
	}
	u->totp_pending = true;
	totp_base32(u->totp_new, sizeof(u->totp_new), secret);
	totp_uri(u, secret, uri, sizeof(uri));
	svg = totp_qr_svg(uri);
	ask_reply(a, 200, svg ? json_pack("{s:s, s:s, s:s}", "secret", secret, "uri", uri, "qr", svg) : NULL);
	free(svg);
}

enum { QR_TEXT_MAX = 512 };

/* Of an enrolment code, for one: what is read off a screen. */
void qr_post(struct ask *a)
{
	const char *text = ask_string(a, "text");
	char *svg = text && *text && strlen(text) <= QR_TEXT_MAX ? totp_qr_svg(text) : NULL;

	if (!text || !*text || strlen(text) > QR_TEXT_MAX)
		ask_field_error(a, "text", "a text of 1 to 512 bytes");
	else
		ask_reply(a, 200, svg ? json_pack("{s:s}", "svg", svg) : NULL);
	free(svg);
}

void totp_confirm(struct ask *a)
{
	const char *code = ask_string(a, "code");
	uint64_t step;
	struct user *u;

	if (!has_session(a))
		return;
	u = a->who.session->user;
	step = u->totp_pending && code ? totp_check(u->totp_new, code, clock_unix_ms() / 1000, 0) : 0;
	if (!step) {
		ask_field_error(a, "code", u->totp_pending ? "this is not the code of now; is the clock of the telephone right?" :
				"ask for a secret first");
		return;
	}
	memcpy(u->totp_secret, u->totp_new, sizeof(u->totp_secret));
	u->totp = true;
	u->totp_pending = false;
	user_took_code(a->c->accounts, u, step);
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", "one-time codes on"), LF_STR("user", u->name));
	save_me(ask_ref(a), u);
}

static void on_off_hash(bool match, const char *hash, void *arg)
{
	struct ask *a = arg;
	struct user *u = proved(a, match, hash);

	if (!u)
		return;
	u->totp = false;
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", "one-time codes off"), LF_STR("user", u->name));
	save_me(a, u);
}

void totp_off(struct ask *a)
{
	const char *password = ask_string(a, "password");

	if (!has_session(a))
		return;
	if (!password || strlen(password) > PASSWORD_MAX)
		ask_field_error(a, "password", "the password is asked for");
	else if (is_its_turn(a, a->who.name))
		queued(a, hasher_check(a->c->hasher, password, a->who.session->user->hash, on_off_hash, ask_ref(a)));
}
