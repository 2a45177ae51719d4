/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP: echo is answered in place; errors about a flow are translated in both directions, because path MTU discovery
 * and "port unreachable" live of them (RFC 5508, 4). An error carries the beginning of the packet that it is about, as
 * the translated side saw it: its header, ports and checksum are put back to what the other side knows.
 */
#ifndef XLB_BPF_ICMP_H
#define XLB_BPF_ICMP_H

#include "bpf/checksum.h"
#include "bpf/nat.h"
#include "bpf/packet.h"

/* RFC 792 and RFC 4443; the kernel's own headers for these drag the C library in. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_PROT_UNREACH 2
#define ICMP_PORT_UNREACH 3
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_PORT_UNREACH 4

INLINE bool is_icmp(const struct packet *packet)
{
	return packet->protocol == (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

INLINE bool is_icmp_error(const struct packet *packet)
{
	if (packet->ipv6)
		return packet->icmp_type < 128; /* RFC 4443, 2.1 */
	return packet->icmp_type == ICMP_DEST_UNREACH || packet->icmp_type == ICMP_TIME_EXCEEDED ||
	       packet->icmp_type == ICMP_PARAMETERPROB;
}

INLINE bool is_echo_request(const struct packet *packet)
{
	return packet->icmp_type == (packet->ipv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

#define ECHO_TTL 64 /* the request's own may be worn out */

/*
 * Echo request to echo reply, in place: addresses and MACs change sides, which leaves every checksum as it is but for
 * the type. Later fragments only change sides, so that a large ping is answered without reassembly.
 */
INLINE long turn_echo(void *ctx, int program, const struct packet *packet)
{
	__u8 reply = packet->ipv6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
	struct {
		__u16 to[3];
		__u16 from[3];
	} turned;
	struct ethernet *eth;

	if (packet->fragment != LATER_FRAGMENT) {
		__u8 *icmp = frame_at(ctx, program, packet->l4, 4);
		__be16 before, after;
		__u16 checksum;

		if (!icmp)
			return -1;
		before = *(__be16 *)icmp;
		after = (__be16)(before & bpf_htons(0x00ff)) | bpf_htons((__u16)(reply << 8));
		checksum = checksum_after(*(__u16 *)(icmp + 2), sum_change16(before, after));
		if (frame_write(ctx, program, packet->l4, &after, 2) ||
		    frame_write(ctx, program, packet->l4 + 2, &checksum, 2))
			return -1;
	}
	if (packet->ipv6) {
		struct {
			struct lb_addr from, to;
		} addresses = {packet->destination, packet->source};
		__u8 hops = ECHO_TTL;

		if (frame_write(ctx, program, packet->l3 + 7, &hops, 1))
			return -1;
		if (frame_write(ctx, program, packet->l3 + 8, &addresses, sizeof(addresses)))
			return -1;
	} else {
		struct {
			__be32 from, to;
		} addresses = {packet->destination.word[3], packet->source.word[3]};
		struct iphdr *ip = frame_at(ctx, program, packet->l3, sizeof(*ip));
		__be16 before, after; /* TTL and protocol */
		__u16 checksum;

		if (!ip)
			return -1;
		before = bpf_htons((__u16)(ip->ttl << 8 | ip->protocol));
		after = bpf_htons((__u16)(ECHO_TTL << 8 | ip->protocol));
		checksum = checksum_after(ip->check, sum_change16(before, after));
		if (frame_write(ctx, program, packet->l3 + 8, &after, 2) ||
		    frame_write(ctx, program, packet->l3 + 10, &checksum, 2))
			return -1;
		if (frame_write(ctx, program, packet->l3 + 12, &addresses, sizeof(addresses)))
			return -1;
	}
	eth = frame_at(ctx, program, 0, sizeof(*eth));
	if (!eth)
		return -1;
	copy_mac(turned.to, eth->source);
	copy_mac(turned.from, eth->destination);
	return frame_write(ctx, program, 0, &turned, sizeof(turned));
}

/* What an ICMP error is about: the addresses and ports of the packet inside, as they stand there. */
struct inner {
	struct lb_addr source;
	struct lb_addr destination;
	__u32 l3; /* offset in the frame */
	__u32 l4;
	__be16 source_port;
	__be16 destination_port;
	__u16 ip_checksum;
	__u16 checksum; /* TCP or UDP */
	__u8 protocol;
	__u8 has_checksum; /* the field is there, and it is not UDP's "none" */
};

INLINE bool read_inner(struct __sk_buff *skb, const struct packet *packet, struct inner *inner)
{
	__be16 ports[2];

	inner->l3 = packet->l4 + 8;
	if (packet->ipv6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, inner->l3, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&inner->source, &ip.saddr, 16);
		__builtin_memcpy(&inner->destination, &ip.daddr, 16);
		inner->protocol = ip.nexthdr;
		inner->l4 = inner->l3 + sizeof(ip);
		inner->ip_checksum = 0;
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, inner->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return false;
		if (ip.frag_off & bpf_htons(0x1fff))
			return false;
		set_ipv4(&inner->source, ip.saddr);
		set_ipv4(&inner->destination, ip.daddr);
		inner->protocol = ip.protocol;
		inner->l4 = inner->l3 + (__u32)ip.ihl * 4;
		inner->ip_checksum = ip.check;
	}
	if (inner->protocol != IPPROTO_TCP && inner->protocol != IPPROTO_UDP)
		return false;
	if (bpf_skb_load_bytes(skb, inner->l4, ports, sizeof(ports)))
		return false;
	inner->source_port = ports[0];
	inner->destination_port = ports[1];
	inner->has_checksum =
	    bpf_skb_load_bytes(skb, inner->l4 + checksum_offset(inner->protocol), &inner->checksum, 2) == 0 &&
	    !(inner->protocol == IPPROTO_UDP && inner->checksum == 0);
	return true;
}

/*
 * Puts (to, to_port) in the place of (from, from_port) on one side of the packet inside, and in the outer address on
 * the opposite side when `outer` says so. 0, or negative: drop it.
 *
 * All changes inside an IPv4 packet cancel out in the ICMP checksum but for what a missing inner checksum leaves over:
 * the header checksum takes back the address, the transport checksum takes back address and port.
 */
INLINE long translate_inner(struct __sk_buff *skb, const struct packet *packet, const struct inner *inner, int side,
			    const struct lb_addr *from, __be16 from_port, const struct lb_addr *to, __be16 to_port,
			    int outer_side, bool outer)
{
	__u32 address_change = sum_change_address(from, to);
	__u32 port_change = sum_change16(from_port, to_port);
	__u32 left_over = 0;

	if (packet->ipv6) {
		if (bpf_skb_store_bytes(skb, inner->l3 + (side == SOURCE_SIDE ? 8 : 24), to, 16, 0))
			return -1;
	} else {
		__u16 checksum = checksum_after(inner->ip_checksum, address_change);

		if (bpf_skb_store_bytes(skb, inner->l3 + (side == SOURCE_SIDE ? 12 : 16), &to->word[3], 4, 0) ||
		    bpf_skb_store_bytes(skb, inner->l3 + 10, &checksum, 2, 0))
			return -1;
	}
	if (bpf_skb_store_bytes(skb, inner->l4 + (side == SOURCE_SIDE ? 0 : 2), &to_port, 2, 0))
		return -1;
	if (inner->has_checksum) {
		__u16 checksum = checksum_after(inner->checksum, sum_add(address_change, port_change));

		if (checksum == 0 && inner->protocol == IPPROTO_UDP)
			checksum = 0xffff;
		if (bpf_skb_store_bytes(skb, inner->l4 + checksum_offset(inner->protocol), &checksum, 2, 0))
			return -1;
		left_over = packet->ipv6 ? 0 : ~address_change;
	} else {
		left_over = packet->ipv6 ? sum_add(address_change, port_change) : port_change;
	}
	if (outer) {
		if (packet->ipv6) /* the outer addresses are in the pseudo-header */
			left_over = sum_add(left_over, address_change);
		if (replace_address(skb, packet, outer_side, from, to))
			return -1;
	}
	if (left_over && bpf_l4_csum_replace(skb, packet->l4 + 2, 0, left_over, 0))
		return -1;
	return 0;
}

#endif /* XLB_BPF_ICMP_H */
