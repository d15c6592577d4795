/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of code are the file's own: dropping them from this process costs nothing but the fault of who comes back to
 * one, which the page cache answers. Of libcrypto alone four megabytes are mapped by the start, of which a
 * connection at rest uses one. Only executable segments that nobody writes are touched; data and what the
 * linker has relocated is never dropped.
 */
#include "tunnel/agent/rest.h"
#include <link.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool has_text_relocations(const struct dl_phdr_info *o)
{
	for (unsigned i = 0; i < o->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &o->dlpi_phdr[i];
		const ElfW(Dyn) *d = (const ElfW(Dyn) *)(uintptr_t)(o->dlpi_addr + h->p_vaddr);

		for (; h->p_type == PT_DYNAMIC && d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL ||
			    (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
				return true;
	}
	return false;
}

static int drop_code(struct dl_phdr_info *o, size_t n, void *arg)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t *sum = arg;

	(void)n;
	if (strstr(o->dlpi_name, "vdso") || has_text_relocations(o))
		return 0;
	for (unsigned i = 0; i < o->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &o->dlpi_phdr[i];
		uintptr_t from = (o->dlpi_addr + h->p_vaddr + page - 1) & ~(page - 1);
		uintptr_t to = (o->dlpi_addr + h->p_vaddr + h->p_memsz) & ~(page - 1);

		if (h->p_type != PT_LOAD || (h->p_flags & (PF_X | PF_W)) != PF_X || from >= to)
			continue;
		if (madvise((void *)from, to - from, MADV_DONTNEED) == 0)
			*sum += to - from;
	}
	return 0;
}

size_t agent_rest_now(void)
{
	size_t sum = 0;

	(void)malloc_trim(0);
	(void)dl_iterate_phdr(drop_code, &sum);
	return sum;
}

void agent_rest_look(struct agent_rest *r)
{
	uint64_t seen = r->work(r->arg);

	if (seen != r->seen) {
		r->seen = seen;
		r->resting = false;
	} else if (!r->resting) {
		r->resting = true;
		(void)agent_rest_now();
	}
}

static void on_time(struct timer *t, uint64_t now)
{
	struct agent_rest *r = container_of(t, struct agent_rest, look);

	(void)now;
	agent_rest_look(r);
	loop_timer_set(r->loop, &r->look, AGENT_REST_MS);
}

void agent_rest_init(struct agent_rest *r, struct loop *l, uint64_t (*work)(void *arg), void *arg)
{
	*r = (struct agent_rest){ .loop = l, .work = work, .arg = arg };
	r->look.fire = on_time;
	loop_timer_set(l, &r->look, AGENT_REST_MS);
}

void agent_rest_deinit(struct agent_rest *r)
{
	timer_stop(&r->look);
}
