/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of a job: one for each port of its range, all in its link's worker. The main thread has bound the
 * sockets. When no descriptor is left to accept with, a spare one is given up to refuse those who wait.
 * Only the worker of the link ever touches them.
 */
#include <errno.h>
#include <unistd.h>
#include "common/stream.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/jobs_priv.h"

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	job_accepted(arg, fd, peer, local);
}

static void on_refused(int fd, const struct addr *peer, void *arg)
{
	struct job_listener *l = arg;

	socket_reset(fd);
	job_refused(l->job, peer, &l->at, JOB_REFUSED_DESCRIPTORS);
}

static void on_short(int listen_fd, int err, void *arg)
{
	struct job_listener *l = arg;

	acceptor_refuse(listen_fd, err, &l->job->of->w->spare, on_refused, l);
}

static void on_accept_error(int err, void *arg)
{
	struct job_listener *l = arg;
	struct jobs_worker *w = l->job->of->w;
	uint64_t suppressed;

	if (log_gate_pass(&w->gates[JOB_LINE_SHORT], loop_now(w->loop), &suppressed))
		log_emit(&MSG_TUNNEL_ACCEPT, LF_STR("agent", l->job->of->agent), LF_STR("job", l->job->name), LF_ERRNO("error", err),
			 LF_U64("suppressed", suppressed));
}

static const struct acceptor_ops ops = { .on_accept = on_accept, .on_error = on_accept_error, .on_short = on_short };

static void on_datagram(const struct dgram *d, void *arg)
{
	job_datagram(arg, d);
}

static void on_ready(struct io *io, int events)
{
	struct job_listener *l = container_of(io, struct job_listener, io);

	(void)events;
	(void)dgram_recv(l->job->of->w->dgram, l->fd, addr_port(&l->at), on_datagram, l);
}

static int listen_one(struct job_listener *l, int fd)
{
	struct loop *loop = l->job->of->w->loop;
	int r;

	if (!l->job->c->udp)
		return acceptor_new(loop, fd, &ops, l, &l->acceptor);
	r = io_start(&l->io, loop, fd, IO_READ, on_ready);
	if (r < 0)
		close(fd);
	else
		l->fd = fd;
	return r;
}

static void close_from(const int *fds, unsigned i, unsigned n)
{
	for (; i < n; i++)
		close(fds[i]);
}

int job_listen(struct server_job *j, const struct addr *at, const int *fds, unsigned n)
{
	int r = 0;

	job_unlisten(j);
	j->listeners = calloc(n, sizeof(*j->listeners));
	if (!j->listeners) {
		close_from(fds, 0, n);
		return -ENOMEM;
	}
	j->n_listeners = n;
	for (unsigned i = 0; i < n; i++)
		j->listeners[i] = (struct job_listener){ .job = j, .offset = i, .at = *at, .fd = -1 };
	for (unsigned i = 0; i < n && r == 0; i++) {
		addr_set_port(&j->listeners[i].at, (uint16_t)(addr_port(at) + i));
		r = listen_one(&j->listeners[i], fds[i]);
		if (r < 0)
			close_from(fds, i + 1, n);
	}
	if (r < 0) {
		job_unlisten(j);
		return r;
	}
	j->at = *at;
	return 0;
}

/* Flows go with their socket; connections do not need it. */
void job_unlisten(struct server_job *j)
{
	if (j->c && j->c->udp && j->n_listeners)
		job_drop_all(j, "the job listens there no more");
	for (unsigned i = 0; i < j->n_listeners; i++) {
		struct job_listener *l = &j->listeners[i];

		acceptor_free(l->acceptor);
		if (l->fd < 0)
			continue;
		io_stop(&l->io);
		dgram_forget(j->of->w->dgram, l->fd);
		close(l->fd);
	}
	free(j->listeners);
	j->listeners = NULL;
	j->n_listeners = 0;
	j->at = (struct addr){ 0 };
}
