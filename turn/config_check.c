/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold between several keys of the `turn` section, and between it and this machine: run by
 * the service before it starts, by a reload and by `stile check`. Every fault is added with its place
 * and a sentence that says what to write; nothing stops at the first one.
 *
 * A value that its own row refused is empty here and has its error already, so empty ones are
 * passed over. The log folder is every service's business: common/service.h.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "stun/auth.h"
#include "turn/config_check.h"
#include "turn/relay_addresses.h"
#include "turn/totals.h"

/* Shorter ones are warned of. A secret can be tried offline by whoever has one credential made with it. */
enum { WEAK_SECRET = 16, WEAK_PASSWORD = 8 };

struct key_path check_item(const char *base, const char *list, size_t i, const char *member)
{
	struct key_path p;

	snprintf(p.s, sizeof(p.s), "%s.%s[%zu]%s%s", base, list, i, member ? "." : "", member ? member : "");
	return p;
}

struct key_path check_key(const char *base, const char *key)
{
	struct key_path p;

	snprintf(p.s, sizeof(p.s), "%s.%s", base, key);
	return p;
}

static struct key_path item(const char *list, size_t i, const char *member)
{
	return check_item("turn", list, i, member);
}

/* ---- credentials ---- */

static void check_a_source_exists(struct cfg *c, const struct turn_config *t)
{
	const char *file;
	unsigned line;

	if (t->password || t->users.n || t->secrets.n || t->realms.n)
		return;
	if (cfg_where(c, "turn.password", &file, &line))
		return; /* written, but bad: that has its own error */
	cfg_add_error(c, "turn", "no password, users or secrets in turn: nobody could use the server. Write one of: "
		      "password: …   users: [ {name: alice, password: …} ]   secrets: [ {id: 2026a, secret: …} ]");
}

/* Adds an error if the text cannot be prepared; else writes what clients' bytes are compared with. */
static bool check_prepared(struct cfg *c, const char *key, const char *what, const char *s, char *out, size_t cap)
{
	size_t n;

	if (stun_opaque_string(text_of(s), out, cap - 1, &n) != 0) {
		cfg_add_error(c, key, "%s holds characters that the OpaqueString profile (RFC 8265) forbids, such as "
			      "invisible or unassigned ones", what);
		return false;
	}
	out[n] = 0;
	return true;
}

static void check_password(struct cfg *c, const char *key, const char *password)
{
	char prepared[1024];

	if (password)
		check_prepared(c, key, "this password", password, prepared, sizeof(prepared));
	bytes_wipe(prepared, sizeof(prepared));
}

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int d = strcmp(x->name, y->name);

	return d ? d : (x->i > y->i) - (x->i < y->i);
}

void check_twice(struct cfg *c, const struct named_list *l)
{
	struct named *names = l->names;
	const char *file;
	unsigned line = 0;

	qsort(names, l->n, sizeof(*names), compare_named);
	for (size_t i = 1, first = 0; i < l->n; i++) {
		if (strcmp(names[i].name, names[first].name) != 0) {
			first = i;
			continue;
		}
		cfg_where(c, check_item(l->base, l->list, names[first].i, l->member).s, &file, &line);
		cfg_add_error(c, check_item(l->base, l->list, names[i].i, l->member).s,
			      "two %s are called '%s'; the first stands in line %u", l->what, names[i].name, line);
	}
}

static void check_users(struct cfg *c, const struct check_sources *from)
{
	const struct turn_user_section *users = from->users->items;
	struct named *names = calloc(from->users->n + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; names && i < from->users->n; i++) {
		struct key_path key = check_item(from->base, "users", i, "name");

		check_password(c, check_item(from->base, "users", i, "password").s, users[i].password);
		if (!users[i].name ||
		    !check_prepared(c, key.s, "this user name", users[i].name, names[n].name, sizeof(names[n].name)))
			continue;
		if (strlen(names[n].name) > 255)
			cfg_add_error(c, key.s, "this user name is longer than 255 bytes once it is normalised");
		names[n++].i = i;
	}
	if (names)
		check_twice(c, &(struct named_list){ names, n, from->base, "users", "name", "users" });
	else
		cfg_add_error(c, "turn.users", "out of memory");
	free(names);
}

static void check_secrets(struct cfg *c, const struct check_sources *from)
{
	const struct turn_secret_section *secrets = from->secrets->items;
	struct named *names = calloc(from->secrets->n + 1, sizeof(*names));
	size_t n = 0;

	for (size_t i = 0; names && i < from->secrets->n; i++) {
		if (!secrets[i].id)
			continue;
		snprintf(names[n].name, sizeof(names[n].name), "%s", secrets[i].id);
		names[n++].i = i;
	}
	if (names)
		check_twice(c, &(struct named_list){ names, n, from->base, "secrets", "id", "secrets" });
	else
		cfg_add_error(c, "turn.secrets", "out of memory");
	free(names);
}

static void warn_short(struct cfg *c, const char *key, const char *s, size_t enough)
{
	if (s && strlen(s) < enough)
		cfg_add_warning(c, key, "less than %zu characters are soon guessed", enough);
}

static void warn_weak(struct cfg *c, const struct check_sources *from)
{
	const struct turn_user_section *users = from->users->items;
	const struct turn_secret_section *secrets = from->secrets->items;

	warn_short(c, check_key(from->base, "password").s, from->password, WEAK_PASSWORD);
	for (size_t i = 0; i < from->users->n; i++)
		warn_short(c, check_item(from->base, "users", i, "password").s, users[i].password, WEAK_PASSWORD);
	for (size_t i = 0; i < from->secrets->n; i++)
		warn_short(c, check_item(from->base, "secrets", i, "secret").s, secrets[i].secret, WEAK_SECRET);
}

void check_credentials(struct cfg *c, const struct check_sources *from)
{
	check_password(c, check_key(from->base, "password").s, from->password);
	check_users(c, from);
	check_secrets(c, from);
	warn_weak(c, from);
}

void check_realm_name(struct cfg *c, const char *key, const char *name)
{
	char prepared[512];

	if (!name || !check_prepared(c, key, "the realm", name, prepared, sizeof(prepared)))
		return;
	if (strcmp(prepared, name) != 0)
		cfg_add_error(c, key, "clients would hash the realm in its normal form; write it so: '%s'", prepared);
	else if (strchr(name, '"') || strchr(name, '\\'))
		cfg_add_error(c, key, "the realm must not hold quotes or backslashes: clients differ in how they hash it");
}

/* ---- addresses ---- */

static void list_machine(int family, struct sb *out)
{
	struct ifaddrs *all;
	char text[ADDR_STRLEN];

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct addr a;
		socklen_t len = family == AF_INET ? sizeof(a.in4) : sizeof(a.in6);

		if (i->ifa_addr && i->ifa_addr->sa_family == family && addr_from_sockaddr(i->ifa_addr, len, &a) == 0)
			sb_fmt(out, "%s%s", out->n ? ", " : "", addr_print_ip(&a, text));
	}
	freeifaddrs(all);
}

/* Tries it: what can be bound counts (net.ipv4.ip_nonlocal_bind lets in addresses that move between
 * machines). Port 0, so a running server is not in the way. */
static void check_bindable(struct cfg *c, const char *key, const struct addr *at)
{
	struct addr any_port = *at;
	char ip[ADDR_STRLEN], have[256];
	struct sb list = sb_init(have, sizeof(have));
	int fd = socket(addr_family(at), SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	addr_set_port(&any_port, 0);
	r = fd < 0 || bind(fd, &any_port.sa, addr_len(&any_port)) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	addr_print_ip(at, ip);
	if (r == EADDRNOTAVAIL) {
		list_machine(addr_family(at), &list);
		cfg_add_error(c, key, "%s is no address of this machine, which has: %s%s", ip, have[0] ? have : "none of this kind",
			      list.truncated ? " …" : "");
	} else if (r) {
		cfg_add_error(c, key, "%s cannot be used on this machine: %s", ip, strerror(r));
	}
}

static bool on_udp(const struct cfg_endpoint *e)
{
	return e->proto == TURN_LISTEN_UDP || e->proto == TURN_LISTEN_DTLS;
}

static void check_listeners(struct cfg *c, const struct turn_config *t)
{
	const struct cfg_endpoint *l = t->listen.items;
	const char *file;
	unsigned line;
	char text[ADDR_STRLEN];

	if (!t->listen.n && cfg_where(c, "turn.listen", &file, &line))
		cfg_add_error(c, "turn.listen", "no listener: write at least one, such as \"udp:0.0.0.0:3478\"");
	for (size_t i = 0; i < t->listen.n; i++) {
		if (addr_family(&l[i].at) == AF_UNSPEC)
			continue;
		check_bindable(c, item("listen", i, NULL).s, &l[i].at);
		for (size_t k = 0; k < i; k++) {
			if (!addr_equal(&l[k].at, &l[i].at) || on_udp(&l[k]) != on_udp(&l[i]))
				continue;
			cfg_add_error(c, item("listen", i, NULL).s, "two listeners on %s port %s", on_udp(&l[i]) ? "UDP" : "TCP",
				      addr_print(&l[i].at, text));
			break;
		}
	}
}

static void check_relay_addresses(struct cfg *c, const struct turn_config *t)
{
	const struct addr *a = t->relay.addresses.items;
	char text[ADDR_STRLEN];

	if (t->relay.addresses.n > TURN_TOTALS_RELAY_ADDRESSES)
		cfg_add_error(c, "turn.relay.addresses", "at most %d relay addresses are possible", TURN_TOTALS_RELAY_ADDRESSES);
	for (size_t i = 0; i < t->relay.addresses.n; i++) {
		struct key_path key = item("relay.addresses", i, NULL);
		enum addr_class class = addr_classify(&a[i]);

		if (addr_family(&a[i]) == AF_UNSPEC)
			continue;
		if (class == ADDR_UNSPECIFIED || class == ADDR_MULTICAST || class == ADDR_BROADCAST) {
			cfg_add_error(c, key.s, "clients are told this address, so it must be one of this machine's, not %s; leave "
				      "turn.relay.addresses out to have it found", addr_print_ip(&a[i], text));
			continue;
		}
		check_bindable(c, key.s, &a[i]);
		for (size_t k = 0; k < i; k++) {
			if (addr_equal_ip(&a[k], &a[i]))
				cfg_add_error(c, key.s, "%s stands twice", addr_print_ip(&a[i], text));
		}
	}
}

/* By the rules that the service goes by, on this machine. */
static void check_external(struct cfg *c, const struct turn_root *root)
{
	const struct turn_config *t = &root->turn;
	const struct cfg_ip_auto *e = t->relay.external.items;
	struct turn_own_set own;
	struct turn_relay_set set;
	char err[256];
	const struct addr *a = t->relay.addresses.items;
	bool automatic = false, whole = true;

	for (size_t i = 0; i < t->relay.external.n; i++) {
		automatic |= e[i].automatic;
		whole &= e[i].automatic || addr_family(&e[i].ip) != AF_UNSPEC;
	}
	for (size_t i = 0; i < t->relay.addresses.n; i++)
		whole &= addr_family(&a[i]) != AF_UNSPEC;
	if (automatic && !root->stun_servers.n)
		cfg_add_error(c, "turn.relay.external", "auto asks servers outside of this network, and stun_servers names none; "
			      "write, beside turn, stun_servers: [stun.example.net:3478], or the address itself");
	if (!t->relay.external.n || !whole)
		return;
	if (turn_own_addresses(&own, err, sizeof(err)) == 0 && turn_relay_addresses(t, &own, &set, err, sizeof(err)) == -EINVAL)
		cfg_add_error(c, "turn.relay.external", "%s", err);
}

/* Whether a relay socket could want this very address. */
static bool relays_on(const struct turn_config *t, const struct addr *listener)
{
	const struct addr *a = t->relay.addresses.items;

	for (size_t i = 0; i < t->relay.addresses.n; i++) {
		if (addr_equal_ip(&a[i], listener) ||
		    (addr_classify(listener) == ADDR_UNSPECIFIED && addr_family(&a[i]) == addr_family(listener)))
			return true;
	}
	return !t->relay.addresses.n;
}

static void check_relay_ports(struct cfg *c, const struct turn_config *t)
{
	const struct cfg_endpoint *l = t->listen.items;

	for (size_t i = 0; i < t->listen.n; i++) {
		unsigned port = addr_port(&l[i].at);

		if (on_udp(&l[i]) && port >= t->relay.ports.first && port <= t->relay.ports.last &&
		    relays_on(t, &l[i].at))
			cfg_add_error(c, "turn.relay.ports", "relay ports %u-%u include port %u of a listener; choose a range "
				      "without it, such as 49152-65535", t->relay.ports.first, t->relay.ports.last, port);
	}
}

static void warn_allowed(struct cfg *c, const char *key, const struct prefix *p, const struct turn_peer_rules *rules,
			 const char *whose)
{
	const struct prefix *deny = rules->deny.items;
	char a[PREFIX_STRLEN], d[PREFIX_STRLEN];

	for (size_t k = 0; k < rules->deny.n; k++)
		if (deny[k].bits <= p->bits && prefix_contains(&deny[k], &p->a))
			cfg_add_warning(c, key, "%s is never allowed: %s.deny %s beats it", prefix_print(p, a), whose,
					prefix_print(&deny[k], d));
}

void check_peers(struct cfg *c, const char *base, const struct turn_peer_rules *peers, const struct turn_peer_rules *server)
{
	const struct prefix *allow = peers->allow.items;
	char text[PREFIX_STRLEN];

	for (size_t i = 0; i < peers->allow.n; i++) {
		struct key_path key = check_item(base, "peers.allow", i, NULL);
		struct addr real = addr_canonical(&allow[i].a);

		if (addr_family(&allow[i].a) == AF_UNSPEC)
			continue;
		if (addr_family(&allow[i].a) == AF_INET6 && addr_family(&real) == AF_INET)
			cfg_add_error(c, key.s, "%s hides IPv4 addresses and is compared as IPv4, so it would never match; write "
				      "the IPv4 prefix", prefix_print(&allow[i], text));
		if (!allow[i].bits)
			cfg_add_warning(c, key.s, "%s lets clients reach every address, this machine's own and the local "
					"network's included", prefix_print(&allow[i], text));
		warn_allowed(c, key.s, &allow[i], peers, check_key(base, "peers").s);
		if (server != peers)
			warn_allowed(c, key.s, &allow[i], server, "turn.peers");
	}
}

/* ---- files ---- */

/* Is it the key that the sentence begins with? Both files are named when they do not fit each other. */
static bool is_about(const char *sentence, const char *key, const char *certificate)
{
	const char *at = strstr(sentence, key), *other = strstr(sentence, certificate);

	return at && (!other || at < other);
}

struct tls_ctx *check_load_certificate(struct cfg *c, const struct check_certificate *from)
{
	struct tls_options o = { .cert_file = from->certificate, .key_file = from->key, .dtls = from->dtls };
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];
	int r = tls_ctx_new(&o, err, &ctx);

	if (r < 0)
		cfg_add_error(c, check_key(from->base, is_about(err, from->key, from->certificate) ? "key" : "certificate").s,
			      "%s", err);
	else if (err[0]) /* its dates */
		cfg_add_warning(c, check_key(from->base, "certificate").s, "%s", err);
	return ctx;
}

bool check_wants_tls(const struct turn_config *t, const struct cfg_endpoint **ret_first, bool *ret_dtls)
{
	const struct cfg_endpoint *l = t->listen.items;

	*ret_first = NULL;
	*ret_dtls = false;
	for (size_t i = t->listen.n; i-- > 0;) {
		if (l[i].proto != TURN_LISTEN_TLS && l[i].proto != TURN_LISTEN_DTLS &&
		    !(l[i].proto == TURN_LISTEN_FRONT && (t->certificate || turn_config_front_serves_us(t))))
			continue;
		*ret_first = &l[i];
		*ret_dtls |= l[i].proto == TURN_LISTEN_DTLS;
	}
	return *ret_first != NULL;
}

static void check_certificate(struct cfg *c, const struct turn_config *t)
{
	struct check_certificate from = { .base = "turn", .certificate = t->certificate, .key = t->key };
	const struct cfg_endpoint *l;
	char text[ADDR_STRLEN];

	if (!check_wants_tls(t, &l, &from.dtls))
		return;
	if (t->certificate && t->key) {
		tls_ctx_unref(check_load_certificate(c, &from));
		return;
	}
	cfg_add_error(c, t->certificate ? "turn.certificate" : t->key ? "turn.key" :
				     item("listen", (size_t)(l - (const struct cfg_endpoint *)t->listen.items), NULL).s,
		      "listener %s:%s needs turn.certificate and turn.key; %s missing", l->proto == TURN_LISTEN_TLS ? "tls" : l->proto == TURN_LISTEN_DTLS ? "dtls" : "front",
		      l->path[0] ? l->path : addr_print(&l->at, text), t->certificate ? "the key is" : t->key ? "the certificate is" : "both are");
}

static void check_lifetimes(struct cfg *c, const struct turn_config *t)
{
	if (t->lifetime.default_ms > t->lifetime.max_ms && t->lifetime.max_ms)
		cfg_add_error(c, "turn.lifetime.default", "the default lifetime of %llu s is longer than turn.lifetime.max of "
			      "%llu s", (unsigned long long)(t->lifetime.default_ms / 1000),
			      (unsigned long long)(t->lifetime.max_ms / 1000));
}

/* Names only: stile-fastpath says which interfaces are there. */
void turn_fast_path_check(struct cfg *c)
{
	const struct turn_config *t = &((const struct turn_root *)cfg_values(c))->turn;
	char *const *names = t->fast_path.interfaces.items;

	for (size_t i = 0; i < t->fast_path.interfaces.n; i++) {
		struct key_path key = item("fast_path.interfaces", i, NULL);

		if (strcmp(names[i], "lo") == 0)
			cfg_add_error(c, key.s, "the loopback interface has no fast path");
		else if (strpbrk(names[i], "/ :") || strcmp(names[i], ".") == 0 || strcmp(names[i], "..") == 0)
			cfg_add_error(c, key.s, "\"%s\" is no name of an interface; see: ip link", names[i]);
		for (size_t k = 0; k < i; k++)
			if (strcmp(names[i], names[k]) == 0)
				cfg_add_error(c, key.s, "%s is there twice", names[i]);
	}
	for (size_t i = 0; t->fast_path.mode && i < t->realms.n; i++) {
		const struct turn_limits *l = &((const struct turn_realm_section *)t->realms.items)[i].limits;

		if ((l->bitrate && l->bitrate != UINT64_MAX) || (l->bitrate_per_user && l->bitrate_per_user != UINT64_MAX))
			cfg_add_warning(c, check_item("turn", "realms", i, "limits").s, "no channel of this realm will be in the kernel "
					"(turn.fast_path.mode): its rate is limited, which is counted exactly in user space");
	}
	if (t->fast_path.mode && (t->limits.bitrate != UINT64_MAX || t->limits.bitrate_per_user != UINT64_MAX))
		cfg_add_warning(c, "turn.fast_path.mode", "no channel will be in the kernel while turn.limits.bitrate or "
				"bitrate_per_user limits the rate, which is counted exactly in user space");
}

void turn_config_check(struct cfg *c)
{
	const struct turn_root *root = cfg_values(c);
	const struct turn_config *t = &root->turn;

	check_a_source_exists(c, t);
	check_credentials(c, &(struct check_sources){ "turn", t->password, &t->users, &t->secrets });
	check_realm_name(c, "turn.realm", t->realm);
	check_listeners(c, t);
	check_certificate(c, t);
	check_relay_addresses(c, t);
	check_relay_ports(c, t);
	check_peers(c, "turn", &t->peers, &t->peers);
	check_lifetimes(c, t);
	turn_fast_path_check(c);
	check_realms(c, t);
	check_external(c, root);
	turn_config_check_front(c);
}
