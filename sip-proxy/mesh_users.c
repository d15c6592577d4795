/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who lives where: ranges of the configuration first, then what was learned, in a keyed table of bounded size whose least
 * used entry makes room. Two servers that both claim a user and share no group are a conflict: told once for each change
 * of mind; the later registration wins, a registration wins over an answer, and the first answer over later ones.
 *
 * Where several serve a user each has a score out of his name, its own and its weight (rendezvous hashing): the same
 * user always meets the same server, and when it cannot be reached, the same second one.
 */
#include <math.h>
#include <string.h>
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

enum { GATE_CONFLICT = 1, DIGITS_MAX = 18 };

/* ---- memory ---- */

static bool is_aor(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct mesh_user, node)->aor, key) == 0;
}

void mesh_user_forget(struct sip_mesh *m, struct mesh_user *u)
{
	struct mesh_server *s = mesh_server(m, u->server);

	if (s)
		s->known--;
	htable_remove(&m->users, &u->node);
	list_unlink(&u->lru);
	free(u);
}

struct mesh_user *mesh_user_find(struct sip_mesh *m, const char *aor, uint64_t now)
{
	struct hnode *n = htable_find(&m->users, hash_bytes(&m->o.seed, aor, strlen(aor)), is_aor, aor);
	struct mesh_user *u = n ? container_of(n, struct mesh_user, node) : NULL;

	if (!u)
		return NULL;
	if (u->until <= now || (u->server && !mesh_server(m, u->server))) {
		mesh_user_forget(m, u);
		return NULL;
	}
	list_unlink(&u->lru);
	list_append(&m->lru, &u->lru);
	return u;
}

static struct mesh_user *add(struct sip_mesh *m, const char *aor)
{
	size_t n = strlen(aor) + 1;
	struct mesh_user *u = calloc(1, sizeof(*u) + n);

	if (!u)
		return NULL;
	if (m->users.count >= MESH_USERS_MAX)
		mesh_user_forget(m, list_entry(m->lru.next, struct mesh_user, lru));
	memcpy(u->aor, aor, n);
	list_init(&u->lru);
	if (htable_insert(&m->users, &u->node, hash_bytes(&m->o.seed, aor, n - 1)) < 0) {
		free(u);
		return NULL;
	}
	list_append(&m->lru, &u->lru);
	return u;
}

static bool share(const struct mesh_server *a, const struct mesh_server *b)
{
	return a == b || (a->group[0] && strcmp(a->group, b->group) == 0);
}

static void tell_conflict(struct sip_mesh *m, const char *aor, const struct mesh_server *had,
			  const struct mesh_server *claims)
{
	uint64_t suppressed;

	mesh_count(m, SIP_M_USER_CONFLICTS, 0);
	if (log_gate_pass(&m->gates[GATE_CONFLICT], mesh_now(m), &suppressed))
		log_emit(&MSG_SIP_USER_CONFLICT, LF_STR("user", aor), LF_STR("lives_at", had->user),
			 LF_STR("claimed_by", claims->user), LF_U64("suppressed", suppressed));
}

static bool in_ranges(const struct mesh_server *s, const char *aor);

/* Whose range he is in, unless that is s or one of its group. */
static const struct mesh_server *owner_by_range(const struct sip_mesh *m, const char *aor,
						const struct mesh_server *s)
{
	const struct mesh_server *owner = NULL;

	for (unsigned i = 0; i < m->n; i++) {
		if (!in_ranges(m->v[i], aor))
			continue;
		if (share(m->v[i], s))
			return NULL;
		owner = m->v[i];
	}
	return owner;
}

void mesh_user_learn(struct sip_mesh *m, const char *aor, struct mesh_server *s, enum mesh_how how,
		     uint64_t until)
{
	uint64_t now = mesh_now(m);
	struct mesh_user *u = mesh_user_find(m, aor, now);
	struct mesh_server *had = u ? mesh_server(m, u->server) : NULL;
	const struct mesh_server *owner = s ? owner_by_range(m, aor, s) : NULL;

	if (owner || (s && had && !share(had, s)))
		tell_conflict(m, aor, owner ? owner : had, s);
	if (had && how != MESH_REGISTERED) {
		if (!s || had != s)
			return; /* who was there first */
		how = MAX(how, u->how);
		until = MAX(until, u->until);
	}
	if (!u)
		u = add(m, aor);
	if (!u)
		return; /* asked again next time */
	if (had)
		had->known--;
	if (s)
		s->known++;
	u->server = s ? s->number : 0;
	u->how = how;
	u->until = until;
}

static bool forget_it(struct hnode *n, void *arg)
{
	mesh_user_forget(arg, container_of(n, struct mesh_user, node));
	return true;
}

void mesh_users_free(struct sip_mesh *m)
{
	htable_each(&m->users, forget_it, m);
	htable_deinit(&m->users);
}

void mesh_users_drop_server(struct sip_mesh *m, unsigned number)
{
	list_for_each_safe (it, &m->lru) {
		struct mesh_user *u = list_entry(it, struct mesh_user, lru);
		if (u->server == number)
			mesh_user_forget(m, u);
	}
}

/* ---- ranges ---- */

static bool number_of(struct text t, uint64_t *ret_n)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(t.p[i] - '0');
	}
	*ret_n = n;
	return t.n > 0 && t.n <= DIGITS_MAX;
}

bool mesh_user_matches(const char *pattern, struct text user)
{
	struct text p = text_of(pattern), first = text_cut(&p, '-');
	uint64_t from, to, n;

	if (p.p && number_of(first, &from) && number_of(p, &to))
		return user.n == first.n && number_of(user, &n) && n >= from && n <= to;
	p = text_of(pattern);
	if (p.n && p.p[p.n - 1] == '*')
		return user.n >= p.n - 1 && memcmp(user.p, p.p, p.n - 1) == 0;
	return text_eq(p, user);
}

static bool in_ranges(const struct mesh_server *s, const char *aor)
{
	struct text user = text_of(aor);
	ptrdiff_t at = text_find(user, '@');

	if (at >= 0)
		user.n = (size_t)at;
	for (size_t i = 0; i < s->n_users; i++)
		if (mesh_user_matches(s->users[i], user))
			return true;
	return false;
}

/* ---- who serves him ---- */

/* A stable draw for this user and this server, weighted: the highest of all wins with a chance of its share. */
static double score(const struct mesh_server *s, const char *aor)
{
	static const struct hash_seed fixed = { 0x5374696c65206d65,
						0x7368207765696768 }; /* the same after a restart */
	struct hash_seed seed = { fixed.k0 ^ hash_bytes(&fixed, s->user, strlen(s->user)), fixed.k1 };
	double u = ((double)(hash_bytes(&seed, aor, strlen(aor)) >> 12) + 0.5) / 4503599627370496.0;

	return -(double)s->weight / log(u);
}

/* Those that are well first, then by score; a weight of 0 is a reserve. */
static bool is_better(const struct mesh_server *a, const struct mesh_server *b, const char *aor)
{
	if (a->sick != b->sick)
		return b->sick;
	return score(a, aor) > score(b, aor);
}

static unsigned insert(const struct mesh_server **v, unsigned n, const struct mesh_server *s,
		       const char *aor)
{
	unsigned at = n;

	while (at > 0 && is_better(s, v[at - 1], aor)) {
		v[at] = v[at - 1];
		at--;
	}
	v[at] = s;
	return n + 1;
}

unsigned mesh_candidates(struct sip_mesh *m, const char *aor, const struct mesh_server *but,
			 uint64_t now, const struct mesh_server *ret_v[static MESH_SERVERS_MAX])
{
	const struct mesh_user *u;
	const struct mesh_server *home;
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (m->v[i] != but && mesh_server_is_on(m->v[i], now) && in_ranges(m->v[i], aor))
			n = insert(ret_v, n, m->v[i], aor);
	if (n)
		return n;
	u = mesh_user_find(m, aor, now);
	home = u ? mesh_server(m, u->server) : NULL;
	for (unsigned i = 0; home && i < m->n; i++)
		if (m->v[i] != but && mesh_server_is_on(m->v[i], now) && share(m->v[i], home))
			n = insert(ret_v, n, m->v[i], aor);
	return n;
}
