/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From root to the service's user, in two steps.
 *
 * While it starts, a service borrows the user's identity (effective ids only) to open log, control
 * socket and store, so that these files are the user's and a folder it may not write is found out
 * at the start. When the ports are bound, privileges_drop() gives root up for good: groups, ids (in
 * all threads), capabilities but those that the service says it needs, not dumpable, and proof that the
 * way back is closed. With "root" as
 * the user, or a start as somebody else with capabilities of his, the uid stays: then every thread
 * gives up its own, those that began before as privileges_thread_new() made them.
 *
 * A service that opens ports at reloads too keeps one of them in its main thread, which reads no stranger's
 * bytes: CAP_NET_BIND_SERVICE, if it was started with it.
 */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "common/privileges.h"
#include "common/service_priv.h"

/* The leak checker of sanitizer builds traces its own process, which must be dumpable for that. */
#if defined(__SANITIZE_ADDRESS__)
enum { DUMPABLE = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { DUMPABLE = 1 };
#else
enum { DUMPABLE = 0 };
#endif
#else
enum { DUMPABLE = 0 };
#endif

int account_find(const char *user, const char *group, struct account *ret_a, char *err, size_t err_n)
{
	const struct passwd *pw = getpwnam(user); /* at start, one thread */
	const struct group *gr;

	if (!pw || strlen(user) >= sizeof(ret_a->name)) {
		snprintf(err, err_n, "there is no user \"%s\"", user);
		return -ENOENT;
	}
	*ret_a = (struct account){ .uid = pw->pw_uid, .gid = pw->pw_gid };
	memcpy(ret_a->name, user, strlen(user) + 1);
	if (!group)
		return 0;
	gr = getgrnam(group);
	if (!gr) {
		snprintf(err, err_n, "there is no group \"%s\"", group);
		return -ENOENT;
	}
	ret_a->gid = gr->gr_gid;
	return 0;
}

static int fail(const char *what, const struct account *a, char *err, size_t err_n)
{
	int r = errno ? -errno : -EPERM;

	snprintf(err, err_n, "cannot become user %s: %s: %s", a->name, what, strerror(-r));
	return r;
}

int privileges_borrow(const struct account *a, char *err, size_t err_n)
{
	if (geteuid() != 0 || a->uid == 0)
		return 0;
	if (initgroups(a->name, a->gid) < 0)
		return fail("initgroups", a, err, err_n);
	if (setegid(a->gid) < 0)
		return fail("setegid", a, err, err_n);
	if (seteuid(a->uid) < 0)
		return fail("seteuid", a, err, err_n);
	return 0;
}

int privileges_return(void)
{
	if (getuid() != 0 || geteuid() == 0)
		return 0;
	return seteuid(0) < 0 || setegid(0) < 0 ? -errno : 0;
}

static bool ids_stay, bind_stays; /* written before there are threads */
static bool dropped; /* by the main thread: those that it makes from now on inherit what it kept */

void privileges_keep_ids(void)
{
	ids_stay = true;
}

void privileges_keep_bind(void)
{
	bind_stays = capng_get_caps_process() == 0 && capng_have_capability(CAPNG_PERMITTED, CAP_NET_BIND_SERVICE);
}

static int change_ids(const struct account *a, char *err, size_t err_n)
{
	if (a->uid == 0)
		return 0;
	if (initgroups(a->name, a->gid) < 0)
		return fail("initgroups", a, err, err_n);
	if (setresgid(a->gid, a->gid, a->gid) < 0)
		return fail("setresgid", a, err, err_n);
	if (setresuid(a->uid, a->uid, a->uid) < 0)
		return fail("setresuid", a, err, err_n);
	errno = 0;
	if (setuid(0) == 0 || seteuid(0) == 0)
		return fail("root can be had again", a, err, err_n);
	return 0;
}

struct beginning {
	void *(*run)(void *);
	void *arg;
	sem_t unprivileged; /* the creator, on whose stack this is, waits for it */
};

static void *begin(void *arg)
{
	struct beginning *b = arg;
	void *(*run)(void *) = b->run;
	void *run_arg = b->arg;

	if (ids_stay || dropped) {
		capng_clear(CAPNG_SELECT_CAPS);
		capng_apply(CAPNG_SELECT_CAPS); /* less is always allowed */
	}
	sem_post(&b->unprivileged);
	return run(run_arg);
}

int privileges_thread_new(pthread_t *ret_thread, void *(*run)(void *), void *arg)
{
	struct beginning b = { .run = run, .arg = arg };
	sigset_t all, before;
	int r;

	sem_init(&b.unprivileged, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(ret_thread, NULL, begin, &b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	while (r == 0 && sem_wait(&b.unprivileged) < 0)
		; /* a signal came */
	sem_destroy(&b.unprivileged);
	return -r;
}

void privileges_confine(void)
{
	/* May be refused without CAP_SETPCAP (a container); privileges_drop() checks what counts. */
	capng_clear(CAPNG_SELECT_BOUNDS);
	capng_apply(CAPNG_SELECT_BOUNDS);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int privileges_drop(const char *user, const char *group, const int *keep, char *err, size_t err_n)
{
	struct account a;
	int r;

	privileges_confine();
	if (keep || bind_stays)
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); /* over the change of ids; what is kept is chosen below */
	if (geteuid() == 0) {
		r = account_find(user ? user : "root", group, &a, err, err_n);
		if (r == 0)
			r = change_ids(&a, err, err_n);
		if (r < 0)
			return r;
	}
	capng_clear(CAPNG_SELECT_CAPS);
	for (; keep && *keep >= 0; keep++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)*keep);
	if (bind_stays)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_BIND_SERVICE);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0) {
		snprintf(err, err_n, "cannot reduce capabilities to those that are needed: %s", strerror(errno));
		return -EPERM;
	}
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) < 0) {
		snprintf(err, err_n, "cannot lock privileges: %s", strerror(errno));
		return -EPERM;
	}
	dropped = true;
	return 0;
}
