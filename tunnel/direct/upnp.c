/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread around miniupnpc; see upnp.h. Jobs are a list under a lock; a job that has been mapped stays in it, so that it can be
 * taken back. The router is looked for at the beginning, and again at a job if it was not there SEARCH_AGAIN_S ago, or is there no more.
 *
 * A lease of an hour is asked for, and again at its half; routers that know only permanent ones (error 725) get their way, and lose
 * it at the end. An answer holds a reference, for it may be delivered after the end.
 */
#include "tunnel/direct/upnp.h"
#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/list.h"

enum { SEARCH_MS = 1000, SEARCH_AGAIN_S = 300, RENEW_S = 1800, LOOK_S = 60, ONLY_PERMANENT = 725, JOBS_MAX = 64 };
#define LEASE "3600"
#define WHAT "stile direct link"

struct job {
	struct list node;
	uint32_t number;
	struct addr inside;
	bool tcp;
	enum { JOB_WANTED, JOB_MAPPED, JOB_UNWANTED, JOB_FAILED } state;
	uint16_t outside_port;
	time_t mapped_at;
};

struct answer {
	struct mail mail;
	struct upnp *u;
	uint32_t number;
	struct addr outside;
};

struct upnp {
	unsigned refs; /* the loop's, and answers on their way: under the lock */
	struct loop *loop;
	void (*mapped)(uint32_t number, const struct addr *outside, void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* jobs, ending */
	pthread_cond_t more;
	struct list jobs;
	unsigned n_jobs;
	bool ending;
	bool ended; /* the loop's: no answer is delivered any more */
	/* The thread's: */
	struct UPNPUrls urls;
	struct IGDdatas data;
	char lan[64];
	bool has_router;
	time_t searched_at;
};

static time_t seconds(void)
{
	return (time_t)(clock_steady_ms() / 1000);
}

/* Is there a way out for multicast? Without one the library would complain on standard error; connect() sends nothing. */
static bool can_ask(void)
{
	const struct addr everybody = addr_v4(0xeffffffa, 1900);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool can = fd >= 0 && connect(fd, &everybody.sa, addr_len(&everybody)) == 0;

	if (fd >= 0)
		close(fd);
	return can;
}

static bool find_router(struct upnp *u)
{
	struct UPNPDev *found;
	int error = 0;

	if (u->has_router || (u->searched_at && seconds() - u->searched_at < SEARCH_AGAIN_S))
		return u->has_router;
	u->searched_at = seconds() + 1;
	if (!can_ask())
		return false;
	found = upnpDiscover(SEARCH_MS, NULL, NULL, UPNP_LOCAL_PORT_ANY, 0, 2, &error);
	if (found) {
		int kind = UPNP_GetValidIGD(found, &u->urls, &u->data, u->lan, sizeof u->lan);
		u->has_router = kind == 1;
		if (kind && !u->has_router)
			FreeUPNPUrls(&u->urls);
	}
	freeUPNPDevlist(found);
	return u->has_router;
}

static void forget_router(struct upnp *u)
{
	FreeUPNPUrls(&u->urls);
	u->has_router = false;
	u->searched_at = 0;
}

/* Whom the address is asked of that everybody sees. One that does not answer at all was of another network, or has been restarted since and
 * listens elsewhere: then it is looked for once more. */
static bool ask_outside(struct upnp *u, char ip[static 16])
{
	int r = find_router(u) ? UPNP_GetExternalIPAddress(u->urls.controlURL, u->data.first.servicetype, ip) : UPNPCOMMAND_SUCCESS;

	if (r < 0) {
		forget_router(u);
		r = find_router(u) ? UPNP_GetExternalIPAddress(u->urls.controlURL, u->data.first.servicetype, ip) : UPNPCOMMAND_SUCCESS;
	}
	return u->has_router && r == UPNPCOMMAND_SUCCESS;
}

static struct addr map(struct upnp *u, const struct job *j)
{
	char port[8], inside[ADDR_STRLEN], ip[64] = "";
	const char *protocol = j->tcp ? "TCP" : "UDP";
	struct addr outside = { 0 };
	int r;

	if (!ask_outside(u, ip))
		return outside;
	addr_print_ip(&j->inside, inside);
	snprintf(port, sizeof port, "%u", addr_port(&j->inside));
	r = UPNP_AddPortMapping(u->urls.controlURL, u->data.first.servicetype, port, port, inside, WHAT, protocol, NULL, LEASE);
	if (r == ONLY_PERMANENT)
		r = UPNP_AddPortMapping(u->urls.controlURL, u->data.first.servicetype, port, port, inside, WHAT, protocol, NULL, "0");
	if (r != UPNPCOMMAND_SUCCESS || addr_parse(text_of(ip), addr_port(&j->inside), &outside) != 0)
		return (struct addr){ 0 };
	return outside;
}

static void unmap(struct upnp *u, const struct job *j)
{
	char port[8];

	if (!u->has_router)
		return;
	snprintf(port, sizeof port, "%u", addr_port(&j->inside));
	UPNP_DeletePortMapping(u->urls.controlURL, u->data.first.servicetype, port, j->tcp ? "TCP" : "UDP", NULL);
}

static void unref(struct upnp *u)
{
	bool last;

	pthread_mutex_lock(&u->lock);
	last = --u->refs == 0;
	pthread_mutex_unlock(&u->lock);
	if (!last)
		return;
	pthread_cond_destroy(&u->more);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

static void drop(struct mail *m)
{
	struct answer *a = container_of(m, struct answer, mail);

	unref(a->u);
	free(a);
}

static void deliver(struct mail *m, struct loop *l)
{
	struct answer *a = container_of(m, struct answer, mail);

	(void)l;
	if (!a->u->ended)
		a->u->mapped(a->number, &a->outside, a->u->arg);
	drop(m);
}

/* Under the lock. */
static void tell(struct upnp *u, uint32_t number, const struct addr *outside)
{
	struct answer *a = calloc(1, sizeof *a);

	if (!a)
		return; /* whoever waits has a limit of his own */
	*a = (struct answer){ { .deliver = deliver, .drop = drop }, u, number, *outside };
	u->refs++;
	loop_post(u->loop, &a->mail);
}

/* Under the lock: a job that something has to be done for. */
static struct job *next_job(struct upnp *u)
{
	list_for_each(it, &u->jobs) {
		struct job *j = list_entry(it, struct job, node);
		if (j->state == JOB_MAPPED && seconds() - j->mapped_at >= RENEW_S)
			return j;
		if (j->state == JOB_WANTED || j->state == JOB_UNWANTED || (u->ending && j->state != JOB_FAILED))
			return j;
	}
	return NULL;
}

static void drop_job(struct upnp *u, struct job *j)
{
	list_unlink(&j->node);
	u->n_jobs--;
	free(j);
}

/* Under the lock, which is given up while the router is spoken to. */
static void do_job(struct upnp *u, struct job *j)
{
	struct job copy = *j;
	struct addr outside = { 0 };

	if (copy.state != JOB_UNWANTED && !u->ending) {
		pthread_mutex_unlock(&u->lock);
		outside = map(u, &copy);
		pthread_mutex_lock(&u->lock); /* the job is still there: only this thread drops jobs */
		j->outside_port = addr_port(&outside);
		j->mapped_at = seconds();
		if (j->state != JOB_UNWANTED) {
			j->state = addr_family(&outside) == AF_UNSPEC ? JOB_FAILED : JOB_MAPPED;
			if (!u->ending)
				tell(u, copy.number, &outside);
		}
		return;
	}
	if (copy.outside_port) {
		pthread_mutex_unlock(&u->lock);
		unmap(u, &copy);
		pthread_mutex_lock(&u->lock);
	}
	drop_job(u, j);
}

static void wait_for_more(struct upnp *u)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LOOK_S;
	pthread_cond_timedwait(&u->more, &u->lock, &until);
}

static void *run(void *arg)
{
	struct upnp *u = arg;
	struct job *j;

	pthread_setname_np(pthread_self(), "upnp");
	find_router(u);
	pthread_mutex_lock(&u->lock);
	for (;;) {
		if ((j = next_job(u)))
			do_job(u, j);
		else if (u->ending)
			break;
		else
			wait_for_more(u);
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

int upnp_new(struct loop *l, void (*mapped)(uint32_t number, const struct addr *outside, void *arg), void *arg, struct upnp **ret_u)
{
	struct upnp *u = calloc(1, sizeof *u);
	int r;

	if (!u)
		return -ENOMEM;
	u->refs = 1;
	u->loop = l;
	u->mapped = mapped;
	u->arg = arg;
	list_init(&u->jobs);
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->more, NULL);
	if ((r = -pthread_create(&u->thread, NULL, run, u)) != 0) {
		free(u);
		return r;
	}
	*ret_u = u;
	return 0;
}

struct upnp *upnp_free(struct upnp *u)
{
	if (!u)
		return NULL;
	pthread_mutex_lock(&u->lock);
	u->ending = true;
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	list_for_each_safe(it, &u->jobs)
		drop_job(u, list_entry(it, struct job, node));
	if (u->has_router)
		FreeUPNPUrls(&u->urls);
	u->ended = true;
	unref(u);
	return NULL;
}

int upnp_map(struct upnp *u, uint32_t number, const struct addr *inside, bool tcp)
{
	struct job *j = calloc(1, sizeof *j);
	bool full;

	if (!j)
		return -ENOMEM;
	*j = (struct job){ .number = number, .inside = *inside, .tcp = tcp, .state = JOB_WANTED };
	pthread_mutex_lock(&u->lock);
	full = u->n_jobs == JOBS_MAX;
	if (!full) {
		list_append(&u->jobs, &j->node);
		u->n_jobs++;
		pthread_cond_signal(&u->more);
	}
	pthread_mutex_unlock(&u->lock);
	if (full)
		free(j);
	return full ? -ENOMEM : 0;
}

void upnp_unmap(struct upnp *u, uint32_t number)
{
	pthread_mutex_lock(&u->lock);
	list_for_each(it, &u->jobs) {
		struct job *j = list_entry(it, struct job, node);
		if (j->number == number)
			j->state = JOB_UNWANTED;
	}
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
}
