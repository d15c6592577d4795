/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners from the main thread's side: binding their sockets, one for each worker, and finding among them
 * the addresses of NAT behaviour discovery. What cannot be bound is said in a sentence with advice. The order of
 * binding is a worker's place in the kernel's group, so that the steering program finds it.
 */
#include "turn/listeners.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/reuseport.h"
#include "turn/edge.h"
#include "turn/lanes.h"
#include "turn/log_msgs.h"

enum {
	UDP_BUFFER = 4 << 20,
	MAX_DISCOVERY = 256, /* UDP listeners looked at for RFC 5780 */
};

/* In the order of enum turn_listen_proto. */
const struct turn_listen_kind turn_listen_kinds[] = {
	{ "udp", .udp = true, .open = turn_udp_open },
	{ "tcp", .open = turn_acceptor_open },
	{ "tls", .tls = true, .open = turn_acceptor_open },
	{ "dtls", .udp = true, .tls = true, .open = turn_udp_open },
};

/* ---- sockets ---- */

static bool on_udp(const struct turn_listener_spec *spec)
{
	return turn_listen_kinds[spec->proto].udp;
}

static int bind_one(const struct turn_listener_spec *spec, int *ret_fd)
{
	if (on_udp(spec))
		return dgram_socket(&spec->at,
				    &(struct dgram_socket_options){
					    .reuseport = true, .gro = true, .v6only = true, .recv_mark = true,
					    .pktinfo = addr_classify(&spec->at) == ADDR_UNSPECIFIED,
					    .rcvbuf = UDP_BUFFER, .sndbuf = UDP_BUFFER },
				    ret_fd);
	return stream_listen_socket(&spec->at, &(struct listen_options){ .reuseport = true, .v6only = true }, ret_fd);
}

static int bind_error(const struct turn_listener_spec *spec, int r, char *err, size_t err_n)
{
	char at[ADDR_STRLEN];
	const char *advice = r == -EADDRNOTAVAIL ? "; this machine does not have that address; see: ip address" :
			     r == -EACCES ? "; ports below 1024 need root or CAP_NET_BIND_SERVICE" : "";
	char who[96] = "";

	if (r == -EADDRINUSE)
		snprintf(who, sizeof who, "; another program has this port; see: ss -ln%cp 'sport = :%u'",
			 on_udp(spec) ? 'u' : 't', addr_port(&spec->at));
	snprintf(err, err_n, "cannot listen on %s:%s: %s%s%s", turn_listen_kinds[spec->proto].name,
		 addr_print(&spec->at, at), strerror(-r), who, advice);
	return r;
}

/* A port that another program holds with SO_REUSEPORT and our uid would be shared, not refused:
 * so the first bind of each listener is made without it, as a question. */
static int probe_free(const struct turn_listener_spec *spec)
{
	int fd, r = on_udp(spec) ? dgram_socket(&spec->at, &(struct dgram_socket_options){ .v6only = true }, &fd) :
			  stream_listen_socket(&spec->at, &(struct listen_options){ .v6only = true }, &fd);

	if (r == 0)
		close(fd);
	return r;
}

static unsigned n_sockets(const struct turn_listener_spec *spec, unsigned n_workers)
{
	return on_udp(spec) ? n_workers * TURN_LANES : n_workers;
}

static struct turn_listener *listener_free(struct turn_listener *l, unsigned n_workers)
{
	list_unlink(&l->node);
	for (unsigned i = 0; i < n_sockets(&l->spec, n_workers); i++)
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	free(l);
	return NULL;
}

static int listener_new(const struct turn_listener_spec *spec, unsigned n_workers, char *err, size_t err_n,
			struct turn_listener **ret_l)
{
	unsigned n = n_sockets(spec, n_workers);
	struct turn_listener *l = calloc(1, sizeof *l + n * sizeof l->fds[0]);
	int r = probe_free(spec);

	if (!l) {
		snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	l->spec = *spec;
	for (unsigned i = 0; i < n; i++)
		l->fds[i] = -1;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = bind_one(spec, &l->fds[i]);
	if (r < 0) {
		listener_free(l, n_workers);
		return bind_error(spec, r, err, err_n);
	}
	r = on_udp(spec) ? turn_lanes_steer(l->fds[0], addr_family(&spec->at), n_workers) :
			   reuseport_steer(l->fds[0], addr_family(&spec->at), n_workers);
	if (r < 0) /* the kernel's own choice will do */
		log_emit(&MSG_TURN_STEER_FAILED, LF_ADDR("listener", &spec->at), LF_ERRNO("error", r));
	*ret_l = l;
	return 0;
}

int turn_listeners_open(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n)
{
	const struct cfg_endpoint *at = cfg->listen.items;
	struct turn_listener *l;
	int r = 0;

	for (size_t i = 0; i < cfg->listen.n && r == 0; i++) {
		struct turn_listener_spec spec = { .proto = at[i].proto, .at = at[i].at };
		r = listener_new(&spec, ts->n_workers, err, err_n, &l);
		if (r == 0)
			list_append(&ts->listeners, &l->node);
	}
	return r;
}

void turn_listeners_log(const struct turn_service *ts)
{
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		log_emit(&MSG_TURN_LISTENING, LF_STR("transport", turn_listener_kind(l)->name),
			 LF_ADDR("address", &l->spec.at), LF_U64("workers", ts->n_workers));
	}
}

void turn_listeners_close(struct turn_service *ts)
{
	list_for_each_safe(it, &ts->listeners)
		listener_free(list_entry(it, struct turn_listener, node), ts->n_workers);
}

/* ---- RFC 5780 ---- */

struct turn_discovery *turn_listeners_discovery(const struct turn_service *ts)
{
	struct turn_discovery *d = calloc(1, sizeof *d);
	struct addr udp[MAX_DISCOVERY];
	size_t n = 0;

	if (!d)
		return NULL;
	list_for_each(it, &ts->listeners) {
		const struct turn_listener *l = list_entry(it, struct turn_listener, node);
		if (l->spec.proto == TURN_LISTEN_UDP && n < ARRAY_LEN(udp))
			udp[n++] = l->spec.at;
	}
	turn_discovery_find(d, udp, n);
	return d;
}
