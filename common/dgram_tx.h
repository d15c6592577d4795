/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output queue behind dgram.h: groups datagrams by socket and destination, cuts each group into
 * runs and hands them to the kernel. Private to common/ and its tests, which put their own system
 * calls below it.
 *
 * The queue keeps pointers to bodies, never bodies. Order within one (socket, destination) is the
 * order of tx_add(); between destinations it is not kept.
 */
#pragma once
#include "common/dgram.h"

enum {
	TX_QUEUE = 1024,       /* entries; beyond it the queue flushes itself */
	TX_RUN_SEGMENTS = 64,  /* UDP_MAX_SEGMENTS of the kernels we meet */
	TX_RUN_BYTES = 65000,  /* below 65,535 with headers */
	TX_REFUSALS = 16,      /* runs refused without one taken: no GSO for a while */
	TX_GSO_PAUSE = 4096,   /* datagrams until GSO is tried again */
};

/* The system calls, as const rows so that a test can stand in for the kernel. */
struct tx_sys {
	/* As sendmmsg(2), but returns -errno. */
	int (*send)(int fd, struct mmsghdr *msgs, unsigned n, void *arg);
	/* Sets IP_MTU_DISCOVER to mode, returns what it was or -errno. */
	int (*set_pmtu)(int fd, bool v6, int mode, void *arg);
	/* One message for each of many sockets, all with one call; as ring_send(). NULL: they go socket by socket. */
	void (*send_each)(const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result, void *arg);
};
extern const struct tx_sys tx_kernel, tx_kernel_ring; /* arg: NULL; struct ring */

struct tx_queue;
/* Counts into stats, and keeps stats->gso up to date: it starts as what the probe said. */
int tx_queue_new(const struct tx_sys *sys, void *arg, struct dgram_io_stats *stats,
		 struct tx_queue **ret_q);
struct tx_queue *tx_queue_free(struct tx_queue *q); /* drops what is queued */
DEFINE_CLEANUP(struct tx_queue, tx_queue_free)

struct tx_datagram { /* or several of one size, at equal distances: such an entry is one datagram as far as the queue's room goes */
	const struct dgram_route *route; /* copied */
	struct iovec head, body;	 /* head: at most DGRAM_HEAD bytes, copied; body: kept by pointer */
	unsigned n;			 /* so many, at most TX_RUN_SEGMENTS and TX_RUN_BYTES with their heads; 0: one */
	size_t stride, last; /* of several: from one body to the next, and bytes of the last body */
};
bool tx_full(const struct tx_queue *q);
unsigned tx_waiting(const struct tx_queue *q); /* entries */
void tx_add(struct tx_queue *q, const struct tx_datagram *d); /* flushes first if full */
bool tx_has(const struct tx_queue *q, int fd); /* something is queued for that socket */
void tx_flush(struct tx_queue *q);
