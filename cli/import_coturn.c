/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile import coturn: a turnserver.conf as our YAML, on standard output. A table names every key of
 * coturn: what has a counterpart is gathered and written below its section; of the rest each line becomes
 * a comment with its number and what is to be done about it. Values of those are not repeated: they may
 * be passwords.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "common/addr.h"
#include "common/bytes.h"
#include "common/text.h"

enum coturn_key {
	K_LISTEN_IP, K_PORT, K_TLS_PORT, K_RELAY_IP, K_EXTERNAL_IP, K_MIN_PORT, K_MAX_PORT, K_CERT, K_PKEY, K_NO_UDP,
	K_NO_TCP, K_NO_TLS, K_NO_DTLS, K_REALM, K_USER, K_SECRET, K_ALLOWED, K_DENIED, K_LOOPBACK, K_USER_QUOTA,
	K_TOTAL_QUOTA, K_CAPACITY, K_NONCE, K_LIFETIME, K_NO_SOFTWARE, K_THREADS, K_VERBOSE, K_ALTERNATE,
	K_TLS_ALTERNATE, K_COUNT,
	K_NONE, /* no counterpart: the note says why */
	K_SAME, /* nothing to do: it is so anyway */
};

static const struct coturn_row {
	const char *name;
	enum coturn_key key;
	const char *note; /* K_NONE: becomes the comment */
} coturn_rows[] = {
	{ "listening-ip", K_LISTEN_IP, NULL },
	{ "listening-port", K_PORT, NULL },
	{ "tls-listening-port", K_TLS_PORT, NULL },
	{ "relay-ip", K_RELAY_IP, NULL },
	{ "external-ip", K_EXTERNAL_IP, NULL },
	{ "min-port", K_MIN_PORT, NULL },
	{ "max-port", K_MAX_PORT, NULL },
	{ "cert", K_CERT, NULL },
	{ "pkey", K_PKEY, NULL },
	{ "no-udp", K_NO_UDP, NULL },
	{ "no-tcp", K_NO_TCP, NULL },
	{ "no-tls", K_NO_TLS, NULL },
	{ "no-dtls", K_NO_DTLS, NULL },
	{ "realm", K_REALM, NULL },
	{ "user", K_USER, NULL },
	{ "static-auth-secret", K_SECRET, NULL },
	{ "allowed-peer-ip", K_ALLOWED, NULL },
	{ "denied-peer-ip", K_DENIED, NULL },
	{ "allow-loopback-peers", K_LOOPBACK, NULL },
	{ "user-quota", K_USER_QUOTA, NULL },
	{ "total-quota", K_TOTAL_QUOTA, NULL },
	{ "bps-capacity", K_CAPACITY, NULL },
	{ "stale-nonce", K_NONCE, NULL },
	{ "max-allocate-lifetime", K_LIFETIME, NULL },
	{ "no-software-attribute", K_NO_SOFTWARE, NULL },
	{ "relay-threads", K_THREADS, NULL },
	{ "verbose", K_VERBOSE, NULL },
	{ "Verbose", K_VERBOSE, NULL },
	{ "alternate-server", K_ALTERNATE, NULL },
	{ "tls-alternate-server", K_TLS_ALTERNATE, NULL },
	{ "fingerprint", K_SAME, NULL }, /* answered as asked */
	{ "lt-cred-mech", K_SAME, NULL },
	{ "use-auth-secret", K_SAME, NULL },
	{ "no-multicast-peers", K_SAME, NULL },
	{ "no-tlsv1", K_SAME, NULL },
	{ "no-tlsv1_1", K_SAME, NULL },
	{ "no-cli", K_SAME, NULL },
	{ "no-stdout-log", K_SAME, NULL },
	{ "simple-log", K_SAME, NULL },
	{ "new-log-timestamp", K_SAME, NULL },
	{ "mobility", K_SAME, NULL },
	{ "max-bps", K_NONE, "a limit per allocation is not offered; turn.limits.bitrate_per_user is the nearest (in bit/s, coturn's is in bytes)" },
	{ "no-auth", K_NONE, "relaying without credentials is not offered" },
	{ "oauth", K_NONE, "OAuth (RFC 7635) is not offered" },
	{ "userdb", K_NONE, "databases are not read: make the users with stile turn user add" },
	{ "psql-userdb", K_NONE, "databases are not read: make the users with stile turn user add" },
	{ "mysql-userdb", K_NONE, "databases are not read: make the users with stile turn user add" },
	{ "mongo-userdb", K_NONE, "databases are not read: make the users with stile turn user add" },
	{ "redis-userdb", K_NONE, "databases are not read: make the users with stile turn user add" },
	{ "redis-statsdb", K_NONE, "see stile turn sessions and the control verb turn.metrics" },
	{ "prometheus", K_NONE, "/metrics of stile-console(8) is for Prometheus: console.metrics" },
	{ "alt-listening-port", K_NONE, "RFC 5780 is served when turn.listen has two addresses with the same two ports" },
	{ "alt-tls-listening-port", K_NONE, "add the port to turn.listen" },
	{ "listening-device", K_NONE, "name addresses under turn.listen instead" },
	{ "relay-device", K_NONE, "name addresses under turn.relay.addresses instead" },
	{ "channel-lifetime", K_NONE, "it is 10 minutes, as RFC 8656 says" },
	{ "permission-lifetime", K_NONE, "it is 5 minutes, as RFC 8656 says" },
	{ "pkey-pwd", K_NONE, "take the pass phrase off the key (openssl pkey) and guard the file by its mode" },
	{ "cipher-list", K_NONE, "the ciphers are OpenSSL's of TLS 1.2 and 1.3, in the server's order" },
	{ "dh-file", K_NONE, "only elliptic curves are used" },
	{ "CA-file", K_NONE, "clients' certificates are not asked for" },
	{ "log-file", K_NONE, "log.dir is the folder; the file in it is stile-turn.log" },
	{ "syslog", K_NONE, "without log.dir lines go to stderr, which journald takes" },
	{ "proc-user", K_NONE, "--user of stile-turn, or User= of the unit" },
	{ "proc-group", K_NONE, "the group is the user's" },
	{ "pidfile", K_NONE, "stile status tells the pid" },
	{ "cli-password", K_NONE, "the control socket is guarded by its file mode and group" },
	{ "web-admin", K_NONE, "stile-console(8) is the web page: section console, and stile console setup" },
	{ "no-udp-relay", K_NONE, "UDP is what is relayed" },
	{ "server-relay", K_NONE, "relaying from server to server by hand is not offered" },
	{ "tcp-proxy-port", K_NONE, "add the port to turn.listen, and the load balancers to turn.proxy_protocol.from" },
	{ "aux-server", K_NONE, "add the address to turn.listen" },
	{ "stun-only", K_NONE, "it always serves TURN too" },
	{ "no-stun", K_NONE, "it always answers STUN Bindings" },
};

struct words {
	char **v;
	size_t n;
};

struct import {
	struct words got[K_COUNT];
	struct words notes; /* comments, in the order of the file */
};

static int words_add(struct words *w, struct text t)
{
	char **v = realloc(w->v, (w->n + 1) * sizeof *v);

	if (!v)
		return -ENOMEM;
	w->v = v;
	v[w->n] = text_dup(t);
	return v[w->n] ? (w->n++, 0) : -ENOMEM;
}

static void words_deinit(struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		bytes_wipe(w->v[i], strlen(w->v[i])); /* passwords among them */
		free(w->v[i]);
	}
	free(w->v);
}

static const char *last(const struct import *in, enum coturn_key k)
{
	const struct words *w = &in->got[k];

	return w->n ? w->v[w->n - 1] : NULL;
}

/* A switch is on by its name alone, or by any word but these. */
static bool is_on(const struct import *in, enum coturn_key k)
{
	const char *s = last(in, k);

	return s && strcmp(s, "0") != 0 && strcmp(s, "no") != 0 && strcmp(s, "false") != 0 && strcmp(s, "off") != 0;
}

static int note(struct import *in, unsigned line, const char *key, const char *why)
{
	char text[384];

	snprintf(text, sizeof text, "line %u, %.64s: %s", line, key, why);
	return words_add(&in->notes, text_of(text));
}

/* ---- reading ---- */

static struct text trim(struct text t)
{
	while (t.n && strchr(" \t\r\n", t.p[0]))
		t = text_drop(t, 1);
	while (t.n && strchr(" \t\r\n", t.p[t.n - 1]))
		t.n--;
	return t;
}

static int take_line(struct import *in, unsigned line, struct text t)
{
	char key[64] = "";

	t = trim(t);
	if (t.n == 0 || t.p[0] == '#')
		return 0;
	while (t.n && t.p[0] == '-') /* as on the command line: coturn takes that too */
		t = text_drop(t, 1);
	size_t n = 0;
	while (n < t.n && !strchr("= \t", t.p[n]))
		n++;
	memcpy(key, t.p, MIN(n, sizeof key - 1));
	struct text value = trim(text_drop(t, n));
	if (value.n && value.p[0] == '=')
		value = trim(text_drop(value, 1));
	if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
		value = (struct text){ value.p + 1, value.n - 2 };
	for (size_t i = 0; i < ARRAY_LEN(coturn_rows); i++) {
		const struct coturn_row *row = &coturn_rows[i];
		if (strcmp(row->name, key) != 0)
			continue;
		if (row->key == K_USER && memmem(value.p, value.n, ":0x", 3))
			return note(in, line, key, "the password is stored as a hash; give the user a new one under turn.users");
		return row->key == K_SAME ? 0 : row->key == K_NONE ? note(in, line, key, row->note) :
								     words_add(&in->got[row->key], value);
	}
	return note(in, line, key, "there is no counterpart");
}

static int read_all(FILE *f, struct import *in)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = 0;

	for (unsigned i = 1; r == 0 && (n = getline(&line, &cap, f)) >= 0; i++)
		r = take_line(in, i, (struct text){ line, (size_t)n });
	if (line)
		bytes_wipe(line, cap);
	free(line);
	return r ? r : ferror(f) ? -EIO : 0;
}

/* ---- writing ---- */

static void put_quoted(struct text t)
{
	putchar('"');
	for (size_t i = 0; i < t.n; i++) {
		unsigned char c = (unsigned char)t.p[i];
		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void put_text(const char *key, const char *value)
{
	printf("%s: ", key);
	put_quoted(text_of(value));
	putchar('\n');
}

static void put_list(const char *key, const struct words *w)
{
	if (!w->n)
		return;
	printf("%s: [", key);
	for (size_t i = 0; i < w->n; i++) {
		fputs(i ? ", " : "", stdout);
		put_quoted(text_of(w->v[i]));
	}
	puts("]");
}

static void put_endpoints(const struct import *in, const char *proto, const char *port, bool *first)
{
	static char *any[] = { "0.0.0.0" };
	struct words ips = in->got[K_LISTEN_IP];

	if (!ips.n)
		ips = (struct words){ any, 1 };
	for (size_t i = 0; i < ips.n; i++, *first = false)
		printf(strchr(ips.v[i], ':') ? "%s\"%s:[%s]:%s\"" : "%s\"%s:%s:%s\"", *first ? "" : ", ", proto, ips.v[i], port);
}

static void put_listeners(const struct import *in)
{
	const char *port = last(in, K_PORT), *tls_port = last(in, K_TLS_PORT);
	bool first = true, tls = last(in, K_CERT) && last(in, K_PKEY);

	printf("  listen: [");
	if (!is_on(in, K_NO_UDP))
		put_endpoints(in, "udp", port ? port : "3478", &first);
	if (!is_on(in, K_NO_TCP))
		put_endpoints(in, "tcp", port ? port : "3478", &first);
	if (tls && !is_on(in, K_NO_TLS))
		put_endpoints(in, "tls", tls_port ? tls_port : "5349", &first);
	if (tls && !is_on(in, K_NO_DTLS))
		put_endpoints(in, "dtls", tls_port ? tls_port : "5349", &first);
	puts("]");
	if (!in->got[K_LISTEN_IP].n)
		puts("  # coturn listens on every address; for IPv6 add \"udp:[::]:3478\" and the like");
	if (tls) {
		put_text("  certificate", last(in, K_CERT));
		put_text("  key", last(in, K_PKEY));
	}
}

/* external-ip is PUBLIC or PUBLIC/OWN; ours are two lists of one length. */
static int put_relay(const struct import *in)
{
	const struct words *ext = &in->got[K_EXTERNAL_IP], *own = in->got[K_RELAY_IP].n ? &in->got[K_RELAY_IP] :
										  &in->got[K_LISTEN_IP];
	struct words inside = { 0 }, outside = { 0 };
	const char *lo = last(in, K_MIN_PORT), *hi = last(in, K_MAX_PORT);
	int r = 0;

	for (size_t i = 0; i < ext->n && r == 0; i++) {
		struct text rest = text_of(ext->v[i]), public = text_cut(&rest, '/');
		if (!rest.p && i < own->n)
			rest = text_of(own->v[i]);
		if (!rest.p) {
			printf("  # external-ip %s: name this machine's own address for it under relay.addresses, then it "
			       "under relay.external\n", ext->v[i]);
			continue;
		}
		r = words_add(&outside, public);
		if (r == 0)
			r = words_add(&inside, rest);
	}
	puts("  relay:");
	put_list("    addresses", inside.n ? &inside : &in->got[K_RELAY_IP]);
	put_list("    external", &outside);
	printf("    ports: %s-%s\n", lo ? lo : "49152", hi ? hi : "65535");
	words_deinit(&inside);
	words_deinit(&outside);
	return r;
}

static void put_credentials(const struct import *in)
{
	const struct words *users = &in->got[K_USER], *secrets = &in->got[K_SECRET];

	for (size_t i = 0; i < users->n; i++) {
		struct text rest = text_of(users->v[i]), name = text_cut(&rest, ':');
		fputs(i ? "    - { name: " : "  users:\n    - { name: ", stdout);
		put_quoted(name);
		fputs(", password: ", stdout);
		put_quoted(rest);
		puts(" }");
	}
	for (size_t i = 0; i < secrets->n; i++) {
		printf("%s    - { id: coturn%zu, secret: ", i ? "" : "  secrets:\n", i + 1);
		put_quoted(text_of(secrets->v[i]));
		puts(" }");
	}
	if (!users->n && !secrets->n)
		puts("  # no user and no static-auth-secret: one of password, users and secrets is needed");
}

/* An IPv4 range as the fewest prefixes. */
static void put_range(uint32_t lo, uint32_t hi, bool *first)
{
	for (uint64_t at = lo; at <= hi;) {
		unsigned bits = 0;
		struct in_addr a = { htonl((uint32_t)at) };
		char ip[INET_ADDRSTRLEN];

		while (bits < 32 && (at & ((UINT64_C(2) << bits) - 1)) == 0 && at + (UINT64_C(2) << bits) - 1 <= hi)
			bits++;
		printf("%s\"%s/%u\"", *first ? "" : ", ", inet_ntop(AF_INET, &a, ip, sizeof ip), 32 - bits);
		*first = false;
		at += UINT64_C(1) << bits;
	}
}

static void put_prefixes(const struct import *in, enum coturn_key k, const char *key)
{
	bool first = true;

	printf("    %s: [", key);
	if (k == K_ALLOWED && is_on(in, K_LOOPBACK)) {
		fputs("\"127.0.0.0/8\", \"::1/128\"", stdout);
		first = false;
	}
	for (size_t i = 0; i < in->got[k].n; i++) {
		const char *s = in->got[k].v[i], *dash = strchr(s, '-');
		char low[64] = "";
		struct in_addr a, b;

		snprintf(low, sizeof low, "%.*s", dash ? (int)MIN(dash - s, 63) : 0, s);
		if (dash && inet_pton(AF_INET, low, &a) == 1 && inet_pton(AF_INET, dash + 1, &b) == 1 &&
		    ntohl(a.s_addr) <= ntohl(b.s_addr)) {
			put_range(ntohl(a.s_addr), ntohl(b.s_addr), &first);
			continue;
		}
		fputs(first ? "" : ", ", stdout);
		put_quoted(text_of(s)); /* an address or a prefix; what is neither is left for stile check to point at, not lost */
		first = false;
	}
	puts("]");
}

static void put_peers(const struct import *in)
{
	puts("  # coturn relays to private addresses unless they are denied; Stile refuses them unless they are\n"
	     "  # allowed. Phones and media servers of the own network need their prefix under allow.");
	puts("  peers:");
	put_prefixes(in, K_ALLOWED, "allow");
	put_prefixes(in, K_DENIED, "deny");
}

static void put_number(const struct import *in, enum coturn_key k, const char *key, unsigned factor, const char *unit)
{
	uint64_t v;

	if (!last(in, k) || text_u64(text_of(last(in, k)), &v) < 0)
		return;
	if (v == 0)
		printf("    %s: unlimited\n", key);
	else
		printf("    %s: %llu%s\n", key, (unsigned long long)(v * factor), unit);
}

static void put_limits(const struct import *in)
{
	uint64_t nonce = 0, life = 0;

	puts("  limits:");
	put_number(in, K_TOTAL_QUOTA, "allocations", 1, "");
	if (last(in, K_USER_QUOTA))
		put_number(in, K_USER_QUOTA, "allocations_per_user", 1, "");
	else
		puts("    allocations_per_user: unlimited");
	put_number(in, K_CAPACITY, "bitrate", 8, "");
	if (last(in, K_NONCE) && text_u64(text_of(last(in, K_NONCE)), &nonce) == 0 && nonce)
		printf("  lifetime: { nonce: %llus", (unsigned long long)nonce);
	if (last(in, K_LIFETIME) && text_u64(text_of(last(in, K_LIFETIME)), &life) == 0 && life)
		printf("%s max: %llus", nonce ? "," : "  lifetime: {", (unsigned long long)life);
	if (nonce || life)
		puts(" }");
}

static int put_all(const struct import *in, const char *from)
{
	printf("# Made from %s by stile import coturn; look it over, then: stile check -c FILE\n", from);
	for (size_t i = 0; i < in->notes.n; i++) {
		fputs("# ", stdout);
		print_clean(stdout, in->notes.v[i]);
		putchar('\n');
	}
	printf("log: { level: %s }\nturn:\n", is_on(in, K_VERBOSE) ? "debug" : "info");
	if (in->got[K_REALM].n > 1)
		puts("  # coturn takes the last of several realm lines; its further realms, which stand in its database, go under turn.realms");
	if (last(in, K_REALM))
		put_text("  realm", last(in, K_REALM));
	put_listeners(in);
	int r = put_relay(in);
	put_credentials(in);
	put_peers(in);
	put_limits(in);
	if (last(in, K_THREADS))
		printf("  workers: %s\n", last(in, K_THREADS));
	if (is_on(in, K_NO_SOFTWARE))
		puts("  software: \"\"");
	put_list("  alternate_servers", &in->got[K_ALTERNATE]);
	put_list("  alternate_tls_servers", &in->got[K_TLS_ALTERNATE]);
	return r;
}

static int run_import_coturn(struct cli *cli)
{
	struct import in = { 0 };
	FILE *f = fopen(cli->words[0], "re");
	int r = f ? read_all(f, &in) : -errno;

	if (f)
		fclose(f);
	if (r == 0)
		r = put_all(&in, cli->words[0]);
	for (size_t k = 0; k < K_COUNT; k++)
		words_deinit(&in.got[k]);
	words_deinit(&in.notes);
	return r < 0 ? cli_fail(cli, "%s: %s", cli->words[0], strerror(-r)) : 0;
}

static const struct command rows[] = {
	{ "import coturn", "FILE", "a turnserver.conf as Stile's YAML, on standard output",
	  "What has no counterpart becomes a comment with its line's number and what to do about it. Users, secrets,\n"
	  "listeners, relay addresses and ports, peer rules and quotas are taken over. Passwords are in the output:\n"
	  "  umask 077; stile import coturn /etc/turnserver.conf > /etc/stile/stile.yaml; stile check",
	  NULL, 0, 1, 1, run_import_coturn, WITHOUT_CONFIG | WITHOUT_SERVICE },
};
const struct command_table import_commands = { rows, ARRAY_LEN(rows) };
