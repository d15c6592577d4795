/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the eBPF programs, stile-fastpath and stile-turn share: the layout of the maps. Plain data, because
 * three compilers read it.
 *
 * A rule says how a packet that matches its key is rewritten; stile-fastpath alone writes rules. A
 * slot says whether a channel may pass now, and counts; its memory is mapped by stile-turn, which so ends or
 * prolongs a channel at once, with one store, and reads exact counters without a system call. A channel has
 * one slot and two rules, one a way. Addresses and ports are in network order.
 */
#pragma once
#include <linux/types.h>

enum fast_way { FAST_UP, FAST_DOWN, FAST_WAYS }; /* as enum turn_way: up is from the client to the peer */

struct fast_key {
	__u8 from[16], to[16]; /* IPv4: the first 4, the rest zero */
	__u16 from_port, to_port;
	__u16 number; /* of the channel; 0: what comes from a peer */
	__u16 family; /* 4 or 6, in host order */
};

struct fast_rule {
	__u8 from[16], to[16]; /* what the packet will say */
	__u16 from_port, to_port;
	__u16 number; /* of the channel: goes in front of what comes from a peer */
	__u8 family, way;
	__u32 slot, generation;
	__u32 in_ifindex;  /* it must come in where an answer would leave */
	__u32 out_ifindex; /* 0: nowhere, user space knows better */
	__u32 mtu;
	__u8 hop_family, has_mac;
	__u8 in_mac[6]; /* of in_ifindex: XDP sees packets that are not for us */
	__u8 hop[16];	/* the next hop's address; TC lets the kernel find its MAC */
	__u8 hop_mac[6], out_mac[6];
};

struct fast_slot {
	__u64 expires_ns; /* CLOCK_MONOTONIC; 0: nothing passes */
	__u64 inside;	  /* packets that are being looked at: when 0, the counters are what they are */
	__u64 packets[FAST_WAYS], bytes[FAST_WAYS]; /* payload */
	__u32 generation; /* a rule of an earlier owner does not count here */
	__u32 spare[3];
};

/* Why a packet of a known channel was left to user space. */
enum fast_left {
	FAST_LEFT_ENDED,     /* the channel, its permission or its allocation has expired or was ended */
	FAST_LEFT_INTERFACE, /* it came in where it was not expected */
	FAST_LEFT_NO_HOP,    /* no route, or the neighbour's address is not known yet */
	FAST_LEFT_TTL,	     /* its last hop */
	FAST_LEFT_TOO_BIG,   /* for the way out: to be fragmented */
	FAST_LEFT_LENGTH,    /* padded ChannelData, a length that lies, a frame cut short */
	FAST_LEFT_CHECKSUM,  /* none, or still to be made by a device */
	FAST_LEFT_RUN,	     /* several datagrams in one (GRO, GSO) */
	FAST_LEFT_REASONS
};
