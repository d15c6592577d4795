/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ChannelData to UDP and back (RFC 8656 12), in the kernel: one program for TC ingress, one for XDP. What
 * has no rule, or is anything but the plain case, goes on to user space, which is right about everything.
 *
 * Each packet is judged by its channel's slot: expiry by the clock, then the counters. TTL, DSCP, ECN and DF
 * follow RFC 8656 14 to 16 as turn/relay_data.c does: TTL one less, TOS byte kept, DF clear. UDP
 * checksums are carried over by difference, so a payload that was damaged on its way stays known as such.
 * Netfilter sees none of these packets.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "turn/fastpath/layout.h"

#define INLINE static __always_inline

enum { CHANNEL_HEAD = 4, INET = 2, INET6 = 10, DROPPED = 2, NOT_OURS = -1 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2);
	__type(key, struct fast_key);
	__type(value, struct fast_rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fast_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FAST_LEFT_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} left SEC(".maps");

/* stile-fastpath moves it on while it lives: a filter that outlives a killed helper does nothing. */
volatile __u64 alive_until_ns;

struct packet {
	struct fast_key key;
	__u32 channel; /* the payload's first four bytes, 0 if it has none */
	__u16 udp_n, check;
	__u8 tos, ttl;
};

struct head4 {
	struct iphdr ip;
	struct udphdr udp;
	__u32 channel;
};
struct head6 {
	struct ipv6hdr ip;
	struct udphdr udp;
	__u32 channel;
};
union head {
	struct head4 v4;
	struct head6 v6;
};

/* ---- parsing: false is for somebody else ---- */

INLINE void parse_udp(struct packet *p, const struct udphdr *udp, const void *end)
{
	const __u32 *payload = (const void *)(udp + 1);

	p->key.from_port = udp->source;
	p->key.to_port = udp->dest;
	p->udp_n = bpf_ntohs(udp->len);
	p->check = udp->check;
	p->channel = (const void *)(payload + 1) <= end ? *payload : 0;
}

/* ip_n: bytes of the frame from the IP header on. */
INLINE bool parse4(struct packet *p, const struct iphdr *ip, const void *end, __u32 ip_n)
{
	const struct udphdr *udp = (const void *)(ip + 1);

	if ((const void *)(udp + 1) > end || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP ||
	    ip->frag_off & bpf_htons(0x3fff))
		return false;
	__builtin_memcpy(p->key.from, &ip->saddr, 4);
	__builtin_memcpy(p->key.to, &ip->daddr, 4);
	p->key.family = 4;
	p->tos = ip->tos;
	p->ttl = ip->ttl;
	parse_udp(p, udp, end);
	return p->udp_n >= sizeof *udp && bpf_ntohs(ip->tot_len) == p->udp_n + sizeof *ip && p->udp_n + sizeof *ip <= ip_n;
}

INLINE bool parse6(struct packet *p, const struct ipv6hdr *ip, const void *end, __u32 ip_n)
{
	const struct udphdr *udp = (const void *)(ip + 1);

	if ((const void *)(udp + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP)
		return false;
	__builtin_memcpy(p->key.from, &ip->saddr, 16);
	__builtin_memcpy(p->key.to, &ip->daddr, 16);
	p->key.family = 6;
	p->tos = (__u8)(ip->priority << 4 | ip->flow_lbl[0] >> 4);
	p->ttl = ip->hop_limit;
	parse_udp(p, udp, end);
	return p->udp_n >= sizeof *udp && bpf_ntohs(ip->payload_len) == p->udp_n && p->udp_n + sizeof *ip <= ip_n;
}

INLINE bool parse(struct packet *p, const struct ethhdr *eth, const void *end, __u32 ip_n)
{
	__builtin_memset(p, 0, sizeof *p);
	if ((const void *)(eth + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return parse4(p, (const void *)(eth + 1), end, ip_n);
	return eth->h_proto == bpf_htons(ETH_P_IPV6) && parse6(p, (const void *)(eth + 1), end, ip_n);
}

/* What looks like ChannelData may be anything when it comes from a peer. */
INLINE struct fast_rule *find_rule(struct packet *p)
{
	struct fast_rule *r = NULL;

	if ((*(const __u8 *)&p->channel & 0xc0) == 0x40) {
		p->key.number = *(const __u16 *)&p->channel;
		r = bpf_map_lookup_elem(&rules, &p->key);
		p->key.number = 0;
	}
	return r ? r : bpf_map_lookup_elem(&rules, &p->key);
}

/* ---- judging: what only user space can do ---- */

INLINE __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* A checksum that a device was to finish is the pseudo header's sum so far. One in 65,536 others looks the
 * same, which only costs its way through user space. */
INLINE bool unfinished(const struct packet *p)
{
	__u64 sum = bpf_htons(p->udp_n) + (__u64)bpf_htons(IPPROTO_UDP);
	__u32 from[4], to[4];

	__builtin_memcpy(from, p->key.from, sizeof from);
	__builtin_memcpy(to, p->key.to, sizeof to);
	for (int i = 0; i < 4; i++)
		sum += (__u64)from[i] + to[i];
	return fold(sum) == p->check;
}

/* Whether it can go on as it is; else why not. *ret_n: the length of the UDP datagram that goes out. */
INLINE int judge(const struct packet *p, const struct fast_rule *r, __u32 ifindex, __u16 *ret_n)
{
	__u16 told = bpf_ntohs(*((const __u16 *)&p->channel + 1));
	__u16 n = r->way == FAST_UP ? p->udp_n - CHANNEL_HEAD : p->udp_n + CHANNEL_HEAD;

	if (r->way == FAST_UP && (__u32)told + CHANNEL_HEAD + sizeof(struct udphdr) != p->udp_n)
		return FAST_LEFT_LENGTH;
	if (r->in_ifindex != ifindex)
		return FAST_LEFT_INTERFACE;
	if (!r->out_ifindex)
		return FAST_LEFT_NO_HOP;
	if (p->ttl <= 1)
		return FAST_LEFT_TTL;
	if (p->udp_n > 65000 || n + (r->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > r->mtu)
		return FAST_LEFT_TOO_BIG;
	if (!p->check ? p->key.family == 6 || r->family == 6 : unfinished(p))
		return FAST_LEFT_CHECKSUM;
	*ret_n = n;
	return FAST_LEFT_REASONS;
}

INLINE int leave(__u32 why)
{
	__u64 *n = bpf_map_lookup_elem(&left, &why);

	if (n)
		++*n;
	return NOT_OURS;
}

/* The slot, entered: leave_slot() must follow. NULL: nothing passes. The atomic operation comes before the look at
 * the expiry, so that who clears the expiry and then sees nobody inside knows that nobody will pass. */
INLINE struct fast_slot *enter_slot(const struct fast_rule *r)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 i = r->slot;
	struct fast_slot *s = bpf_map_lookup_elem(&slots, &i);

	if (!s || now > alive_until_ns)
		return NULL;
	if (__sync_fetch_and_add(&s->inside, 1) < ~0ull && *(volatile __u64 *)&s->expires_ns > now &&
	    *(volatile __u32 *)&s->generation == r->generation)
		return s;
	__sync_fetch_and_add(&s->inside, -1);
	return NULL;
}

INLINE void leave_slot(struct fast_slot *s, const struct fast_rule *r, __u32 payload)
{
	if (payload != ~0u) {
		__u32 way = r->way & 1;
		__sync_fetch_and_add(&s->packets[way], 1);
		__sync_fetch_and_add(&s->bytes[way], payload);
	}
	__sync_fetch_and_add(&s->inside, -1);
}

/* ---- the new headers ---- */

INLINE __u32 new_channel(const struct fast_rule *r, const struct packet *p)
{
	__u32 word = 0;
	__u16 n = bpf_htons((__u16)(p->udp_n - sizeof(struct udphdr)));

	if (r->way == FAST_UP)
		return 0;
	__builtin_memcpy(&word, &r->number, 2);
	__builtin_memcpy((__u8 *)&word + 2, &n, 2);
	return word;
}

/* What a UDP checksum covers and we change; the length stands in the pseudo header and in the real one. */
struct covered {
	__u8 from[16], to[16];
	__u16 from_port, to_port, n, again;
	__u32 channel;
};

INLINE __u16 carry_checksum(const struct packet *p, const struct fast_rule *r, __u16 n, __u32 channel)
{
	struct covered was = { .from_port = p->key.from_port, .to_port = p->key.to_port, .n = bpf_htons(p->udp_n),
			       .again = bpf_htons(p->udp_n), .channel = r->way == FAST_UP ? p->channel : 0 };
	struct covered is = { .from_port = r->from_port, .to_port = r->to_port, .n = bpf_htons(n),
			      .again = bpf_htons(n), .channel = channel };

	if (!p->check)
		return 0;
	__builtin_memcpy(was.from, p->key.from, 16);
	__builtin_memcpy(was.to, p->key.to, 16);
	__builtin_memcpy(is.from, r->from, 16);
	__builtin_memcpy(is.to, r->to, 16);
	__s64 sum = bpf_csum_diff((__be32 *)&was, sizeof was, (__be32 *)&is, sizeof is, (__u16)~p->check);
	__u16 check = (__u16)~fold((__u32)sum);
	return check ? check : 0xffff;
}

INLINE void make_udp(struct udphdr *udp, const struct packet *p, const struct fast_rule *r, __u16 n, __u32 channel)
{
	udp->source = r->from_port;
	udp->dest = r->to_port;
	udp->len = bpf_htons(n);
	udp->check = carry_checksum(p, r, n, channel);
}

INLINE void make_head(union head *h, const struct packet *p, const struct fast_rule *r, __u16 n)
{
	__u32 channel = new_channel(r, p);

	__builtin_memset(h, 0, sizeof *h);
	if (r->family == 4) {
		struct iphdr *ip = &h->v4.ip;
		ip->version = 4;
		ip->ihl = 5;
		ip->tos = p->tos;
		ip->tot_len = bpf_htons((__u16)(n + sizeof *ip));
		ip->id = (__u16)bpf_get_prandom_u32(); /* DF is clear: routers may fragment */
		ip->ttl = p->ttl - 1;
		ip->protocol = IPPROTO_UDP;
		__builtin_memcpy(&ip->saddr, r->from, 4);
		__builtin_memcpy(&ip->daddr, r->to, 4);
		ip->check = (__u16)~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof *ip, 0));
		make_udp(&h->v4.udp, p, r, n, channel);
		h->v4.channel = channel;
		return;
	}
	h->v6.ip.version = 6;
	h->v6.ip.priority = p->tos >> 4;
	h->v6.ip.flow_lbl[0] = (__u8)(p->tos << 4);
	h->v6.ip.payload_len = bpf_htons(n);
	h->v6.ip.nexthdr = IPPROTO_UDP;
	h->v6.ip.hop_limit = p->ttl - 1;
	__builtin_memcpy(&h->v6.ip.saddr, r->from, 16);
	__builtin_memcpy(&h->v6.ip.daddr, r->to, 16);
	make_udp(&h->v6.udp, p, r, n, channel);
	h->v6.channel = channel;
}

INLINE int growth(const struct packet *p, const struct fast_rule *r)
{
	int l3 = (r->family == 4 ? 20 : 40) - (p->key.family == 4 ? 20 : 40);

	return l3 + (r->way == FAST_UP ? -CHANNEL_HEAD : CHANNEL_HEAD);
}

/* ---- TC ---- */

INLINE long tc_store(struct __sk_buff *skb, const struct fast_rule *r, union head *h)
{
	bool up = r->way == FAST_UP;

	if (r->family == 4)
		return up ? bpf_skb_store_bytes(skb, ETH_HLEN, h, sizeof h->v4 - CHANNEL_HEAD, BPF_F_RECOMPUTE_CSUM) :
			    bpf_skb_store_bytes(skb, ETH_HLEN, h, sizeof h->v4, BPF_F_RECOMPUTE_CSUM);
	return up ? bpf_skb_store_bytes(skb, ETH_HLEN, h, sizeof h->v6 - CHANNEL_HEAD, BPF_F_RECOMPUTE_CSUM) :
		    bpf_skb_store_bytes(skb, ETH_HLEN, h, sizeof h->v6, BPF_F_RECOMPUTE_CSUM);
}

/* 0, or an error after which the packet is no longer what it was. */
INLINE long tc_rewrite(struct __sk_buff *skb, const struct packet *p, const struct fast_rule *r, union head *h)
{
	long err = 0;

	if (r->family != p->key.family)
		err = bpf_skb_change_proto(skb, bpf_htons(r->family == 4 ? ETH_P_IP : ETH_P_IPV6), 0);
	if (!err)
		err = bpf_skb_adjust_room(skb, r->way == FAST_UP ? -CHANNEL_HEAD : CHANNEL_HEAD, BPF_ADJ_ROOM_NET, 0);
	return err ? err : tc_store(skb, r, h);
}

INLINE int tc_forward(struct __sk_buff *skb, const struct packet *p, const struct fast_rule *r, __u16 n)
{
	struct bpf_redir_neigh hop = { .nh_family = r->hop_family == 4 ? INET : INET6 };
	__u32 out = r->out_ifindex, payload = (r->way == FAST_UP ? n : p->udp_n) - sizeof(struct udphdr);
	struct fast_slot *s = enter_slot(r);
	union head h;

	if (!s)
		return leave(FAST_LEFT_ENDED);
	make_head(&h, p, r, n);
	__builtin_memcpy(hop.ipv6_nh, r->hop, 16);
	if (tc_rewrite(skb, p, r, &h)) {
		leave_slot(s, r, ~0u);
		return TC_ACT_SHOT;
	}
	leave_slot(s, r, payload);
	return (int)bpf_redirect_neigh(out, &hop, sizeof hop, 0);
}

SEC("tc")
int stile_tc(struct __sk_buff *skb)
{
	struct fast_rule *r;
	struct packet p;
	__u16 n = 0;
	int why;

	if (skb->pkt_type != PACKET_HOST || skb->vlan_present ||
	    (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)))
		return TC_ACT_UNSPEC;
	__u32 head = ETH_HLEN + sizeof(struct head6);
	if ((void *)(long)skb->data + head > (void *)(long)skb->data_end)
		(void)bpf_skb_pull_data(skb, skb->len < head ? skb->len : head);
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (!parse(&p, data, end, skb->len - ETH_HLEN) || !(r = find_rule(&p)))
		return TC_ACT_UNSPEC;
	why = skb->gso_size ? FAST_LEFT_RUN : judge(&p, r, skb->ifindex, &n);
	return why != FAST_LEFT_REASONS ? leave(why) : tc_forward(skb, &p, r, n);
}

/* ---- XDP ---- */

INLINE bool xdp_store(struct xdp_md *ctx, const struct fast_rule *r, const union head *h)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	bool up = r->way == FAST_UP;
	__u8 *at = (void *)(eth + 1);

	if (at + (r->family == 4 ? sizeof h->v4 : sizeof h->v6) - (up ? CHANNEL_HEAD : 0) > (__u8 *)end)
		return false;
	__builtin_memcpy(eth->h_dest, r->hop_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, r->out_mac, ETH_ALEN);
	eth->h_proto = bpf_htons(r->family == 4 ? ETH_P_IP : ETH_P_IPV6);
	if (r->family == 4) {
		if (at + sizeof h->v4 - CHANNEL_HEAD > (__u8 *)end)
			return false;
		__builtin_memcpy(at, &h->v4, sizeof h->v4 - CHANNEL_HEAD);
		at += sizeof h->v4 - CHANNEL_HEAD;
	} else {
		if (at + sizeof h->v6 - CHANNEL_HEAD > (__u8 *)end)
			return false;
		__builtin_memcpy(at, &h->v6, sizeof h->v6 - CHANNEL_HEAD);
		at += sizeof h->v6 - CHANNEL_HEAD;
	}
	if (up)
		return true;
	if (at + CHANNEL_HEAD > (__u8 *)end)
		return false;
	*(__u32 *)at = r->family == 4 ? h->v4.channel : h->v6.channel;
	return true;
}

INLINE int xdp_forward(struct xdp_md *ctx, const struct packet *p, const struct fast_rule *r, __u16 n)
{
	__u32 payload = (r->way == FAST_UP ? n : p->udp_n) - sizeof(struct udphdr);
	struct fast_slot *s = enter_slot(r);
	union head h;

	if (!s)
		return leave(FAST_LEFT_ENDED);
	make_head(&h, p, r, n);
	if (bpf_xdp_adjust_head(ctx, -growth(p, r))) { /* no headroom: nothing has changed yet */
		leave_slot(s, r, ~0u);
		return leave(FAST_LEFT_LENGTH);
	}
	if (!xdp_store(ctx, r, &h)) {
		leave_slot(s, r, ~0u);
		return DROPPED;
	}
	leave_slot(s, r, payload);
	return (int)bpf_redirect(r->out_ifindex, 0);
}

INLINE bool same_mac(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] && a[5] == b[5];
}

SEC("xdp")
int stile_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct fast_rule *r;
	struct packet p;
	__u16 n = 0;
	int why;

	if (!parse(&p, eth, end, (__u32)(end - data) - ETH_HLEN) || !(r = find_rule(&p)) || !same_mac(eth->h_dest, r->in_mac))
		return XDP_PASS;
	why = judge(&p, r, ctx->ingress_ifindex, &n);
	if (why == FAST_LEFT_REASONS && !r->has_mac)
		why = FAST_LEFT_NO_HOP;
	why = why != FAST_LEFT_REASONS ? leave(why) : xdp_forward(ctx, &p, r, n);
	return why == NOT_OURS ? XDP_PASS : why == DROPPED ? XDP_DROP : why;
}

char _license[] SEC("license") = "Apache-2.0"; /* no helper here asks for more */
