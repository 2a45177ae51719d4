/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Refusals, made of the refused packet itself (tc only): RST for TCP (RFC 9293, 3.10.7.1), ICMP port unreachable for
 * the rest (RFC 1122, 3.2.2.1; RFC 4443, 3.1). Rate-limited for each CPU.
 *
 * A frame from a local sender or a virtual NIC may carry a *partial* checksum: the field holds the pseudo-header's sum
 * and somebody later completes it over whatever lies behind. A program cannot ask, but it can find out: the checksum
 * helper leaves such a field alone.
 */
#ifndef XLB_BPF_REJECT_H
#define XLB_BPF_REJECT_H

#include "bpf/checksum.h"
#include "bpf/forward.h"
#include "bpf/icmp.h"
#include "bpf/packet.h"
#include "bpf/verdict.h"

#define REJECT_TTL 64

INLINE bool checksum_is_partial(struct __sk_buff *skb, __u32 offset)
{
	__u16 before, after;

	if (bpf_skb_load_bytes(skb, offset, &before, 2) || bpf_l4_csum_replace(skb, offset, 0, bpf_htons(1), 2) ||
	    bpf_skb_load_bytes(skb, offset, &after, 2))
		return false;
	if (before == after)
		return true;
	bpf_l4_csum_replace(skb, offset, bpf_htons(1), 0, 2);
	return false;
}

INLINE long turn_macs(struct __sk_buff *skb)
{
	__u8 macs[12];
	__u8 turned[12];

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	__builtin_memcpy(turned, macs + 6, 6);
	__builtin_memcpy(turned + 6, macs, 6);
	return bpf_skb_store_bytes(skb, 0, turned, sizeof(turned), 0);
}

/* A fresh IP header from the VIP to the client at packet->l3; `length` of what follows it. */
INLINE long write_ip(struct __sk_buff *skb, const struct packet *packet, __u8 protocol, __u32 length)
{
	if (packet->ipv6) {
		struct ipv6hdr ip = {};

		ip.version = 6;
		ip.payload_len = bpf_htons((__u16)length);
		ip.nexthdr = protocol;
		ip.hop_limit = REJECT_TTL;
		__builtin_memcpy(&ip.saddr, &packet->destination, 16);
		__builtin_memcpy(&ip.daddr, &packet->source, 16);
		return bpf_skb_store_bytes(skb, packet->l3, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	} else {
		struct iphdr ip = {};

		ip.version = 4;
		ip.ihl = 5;
		ip.tot_len = bpf_htons((__u16)(sizeof(ip) + length));
		ip.frag_off = bpf_htons(0x4000);
		ip.ttl = REJECT_TTL;
		ip.protocol = protocol;
		ip.saddr = packet->destination.word[3];
		ip.daddr = packet->source.word[3];
		ip.check = (__u16)~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
		return bpf_skb_store_bytes(skb, packet->l3, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
}

__noinline int xlb_make_reset(struct __sk_buff *skb, const struct packet *packet)
{
	struct tcphdr refused;
	struct tcphdr reset = {};
	bool partial;
	__u32 l4, sum;

	if (!packet)
		return -1;
	l4 = packet->l3 + (packet->ipv6 ? (__u32)sizeof(struct ipv6hdr) : (__u32)sizeof(struct iphdr));
	if (bpf_skb_load_bytes(skb, packet->l4, &refused, sizeof(refused)))
		return -1;
	partial = checksum_is_partial(skb, packet->l4 + 16);
	if (bpf_skb_change_tail(skb, l4 + sizeof(reset), 0))
		return -1;
	reset.source = refused.dest;
	reset.dest = refused.source;
	reset.doff = sizeof(reset) / 4;
	reset.rst = 1;
	if (refused.ack) {
		reset.seq = refused.ack_seq;
	} else {
		reset.ack = 1;
		reset.ack_seq = bpf_htonl(bpf_ntohl(refused.seq) + packet->payload + refused.syn + refused.fin);
	}
	sum = sum_pseudo_header(&packet->destination, &packet->source, packet->ipv6, IPPROTO_TCP, sizeof(reset));
	if (partial)
		reset.check = sum_fold(sum);
	else
		reset.check = (__u16)~sum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&reset, sizeof(reset), sum));
	if (bpf_skb_store_bytes(skb, l4, &reset, sizeof(reset), BPF_F_RECOMPUTE_CSUM) ||
	    write_ip(skb, packet, IPPROTO_TCP, sizeof(reset)))
		return -1;
	return turn_macs(skb) ? -1 : 0;
}

/* Of the refused packet the IP header and 8 bytes are quoted. */
#define QUOTE_MAX 88u /* IPv4 with all options, or IPv6 with one or two short extension headers */

struct unreachable {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 unused;
};

__noinline int xlb_make_unreachable(struct __sk_buff *skb, const struct packet *packet)
{
	__u8 quote[QUOTE_MAX] __attribute__((aligned(8))) = {};
	struct unreachable icmp = {};
	__u32 header, quoted, sum = 0;
	bool partial;

	if (!packet)
		return -1;
	header = packet->ipv6 ? (__u32)sizeof(struct ipv6hdr) : (__u32)sizeof(struct iphdr);
	quoted = packet->l4 + 8 - packet->l3;
	partial = packet->protocol == IPPROTO_UDP && checksum_is_partial(skb, packet->l4 + 6);
	if (bpf_skb_change_tail(skb, packet->l4 + 8, 0))
		return -1;
	barrier_var(quoted);
	quoted &= 0xff;
	if (quoted < 28 || quoted > QUOTE_MAX || bpf_skb_load_bytes(skb, packet->l3, quote, quoted))
		return -1;
	if (packet->ipv6) {
		icmp.type = ICMPV6_DEST_UNREACH;
		icmp.code = ICMPV6_PORT_UNREACH;
		sum = sum_pseudo_header(&packet->destination, &packet->source, true, IPPROTO_ICMPV6,
					quoted + (__u32)sizeof(icmp));
	} else {
		icmp.type = ICMP_DEST_UNREACH;
		icmp.code = packet->protocol == IPPROTO_UDP ? ICMP_PORT_UNREACH : ICMP_PROT_UNREACH;
	}
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(quote), sum);
	if (partial) {
		/*
		 * Whoever completes the quoted UDP checksum sums the 8 bytes that are left, the field's present content
		 * among them, and writes the complement there. The ICMP checksum must fit what will then stand in it.
		 */
		__be16 udp[4];
		__u16 will_be;

		if (bpf_skb_load_bytes(skb, packet->l4, udp, sizeof(udp)))
			return -1;
		will_be = (__u16)~sum_fold(sum_add(sum_add(udp[0], udp[1]), sum_add(udp[2], udp[3])));
		if (will_be == 0)
			will_be = 0xffff;
		sum = sum_add(sum, sum_change16(udp[3], will_be));
	}
	icmp.checksum = (__u16)~sum_fold(sum);
	if (bpf_skb_adjust_room(skb, (__s32)(header + sizeof(icmp)), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	if (write_ip(skb, packet, packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, quoted + (__u32)sizeof(icmp)) ||
	    bpf_skb_store_bytes(skb, packet->l3 + header, &icmp, sizeof(icmp), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return turn_macs(skb) ? -1 : 0;
}

/*
 * `verdict` says why; the counter of a refusal that had no reason of its own says by what (RST or ICMP). A packet that
 * must not be answered (RST, later fragment), has too little to quote, or is over the limit is dropped.
 * `l3_ifindex`: where the client is, when the frame's own source MAC is another's; 0: back to where it came from.
 */
__noinline int xlb_refuse(struct __sk_buff *skb, const struct lb_node *node, const struct packet *packet, __u32 verdict,
			  __u32 l3_ifindex)
{
	bool tcp, quotable;
	int error;

	if (!node || !packet)
		return TC_ACT_SHOT;
	tcp = packet->protocol == IPPROTO_TCP;
	quotable = packet->l4 + 8 <= packet->length;
	if (packet->fragment == LATER_FRAGMENT || !quotable || (tcp && (packet->tcp_flags & TCP_RST))) {
		conclude(XLB_PROGRAM_LAN_TC, node, packet, NULL, verdict);
		return TC_ACT_SHOT;
	}
	if (!afford(XLB_BUDGET_REJECT, node->reject_per_second)) {
		conclude(XLB_PROGRAM_LAN_TC, node, packet, NULL, XLB_VERDICT_REJECT_LIMITED);
		return TC_ACT_SHOT;
	}
	error = tcp ? xlb_make_reset(skb, packet) : xlb_make_unreachable(skb, packet);
	conclude(XLB_PROGRAM_LAN_TC, node, packet, NULL, error ? XLB_VERDICT_ERROR : verdict);
	if (error)
		return TC_ACT_SHOT;
	return l3_ifindex ? to_client(skb, l3_ifindex) : send_back(skb, XLB_PROGRAM_LAN_TC);
}

#endif /* XLB_BPF_REJECT_H */
