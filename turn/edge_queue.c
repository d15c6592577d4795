/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel dropped because a listener's receive queue was full: asked of each lane's socket once a second
 * (SO_MEMINFO), counted, and told in the log once a minute. A flood shows here first, and in the strangers' lane;
 * losses in the data lane mean that the machine is too slow for its sessions.
 */
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"

enum { TELL_MS = 60000 };

static void tell(struct turn_lane_socket *s, uint64_t now)
{
	if (s->told && now - s->told < TELL_MS)
		return;
	log_emit(&MSG_TURN_QUEUE_FULL, LF_ADDR("listener", &s->udp->at), LF_STR("lane", turn_lane_name(s->lane)),
		 LF_U64("worker", s->udp->worker->index), LF_U64("lost", s->untold));
	s->told = now;
	s->untold = 0;
}

static void look(struct turn_lane_socket *s, uint64_t now)
{
	struct turn_worker *w = s->udp->worker;
	uint32_t m[SK_MEMINFO_VARS] = { 0 }, lost;
	socklen_t n = sizeof m;

	if (getsockopt(s->io.fd, SOL_SOCKET, SO_MEMINFO, m, &n) < 0 || n < (SK_MEMINFO_DROPS + 1) * sizeof m[0])
		return;
	lost = m[SK_MEMINFO_DROPS] - s->dropped; /* it may wrap */
	s->dropped = m[SK_MEMINFO_DROPS];
	if (!lost)
		return;
	metric_add(w->ts->metrics, w->index, TURN_M_QUEUE_DROPS, s->lane, lost);
	s->untold += lost;
	tell(s, now);
}

void turn_queues_look(struct turn_worker *w)
{
	list_for_each(it, &w->udp) {
		struct turn_udp *u = list_entry(it, struct turn_udp, node);
		for (unsigned i = 0; i < TURN_LANES; i++)
			look(&u->lane[i], loop_now(w->loop));
	}
}
