/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child has learned about this network's NAT, in a file beside the agent's keys, so that it is there after a restart:
 * text as the child gives it, which only the child reads. A file that cannot be read or written costs what was learned, and
 * no more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tunnel/agent/direct_priv.h"
#include "tunnel/link/identity_priv.h"

static bool path_of(const struct direct *d, char *out, size_t n)
{
	const char *store = agent_store_path(cfg_values(d->as->svc->cfg));

	return (size_t)snprintf(out, n, "%s/%s/agent-network", store, d->as->svc->instance.full) < n;
}

static bool is_text(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != '\n' && (p[i] < ' ' || p[i] > '~'))
			return false;
	return true;
}

static bool take(struct direct *d, const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n + 1);

	if (!copy)
		return false;
	if (n)
		memcpy(copy, p, n);
	free(d->memory);
	d->memory = copy;
	d->memory_n = n;
	return true;
}

void direct_memory_load(struct direct *d)
{
	uint8_t buf[CHILD_MEMORY_MAX];
	char path[700];
	FILE *f = path_of(d, path, sizeof(path)) ? fopen(path, "re") : NULL;
	size_t n = f ? fread(buf, 1, sizeof(buf), f) : 0;

	if (f)
		fclose(f);
	if (n && is_text(buf, n))
		(void)take(d, buf, n);
}

void direct_memory_keep(struct direct *d, const struct wire_bytes *m)
{
	char path[700], err[IDENTITY_ERRLEN];
	bool same = m->n == d->memory_n && (m->n == 0 || memcmp(m->p, d->memory, m->n) == 0);

	if (same || !is_text(m->p, m->n) || !take(d, m->p, m->n) || !path_of(d, path, sizeof(path)))
		return;
	(void)identity_write_file(path, (struct text){ (const char *)d->memory, d->memory_n }, err);
}
