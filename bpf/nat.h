/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Address and port translation in tc, with every checksum kept right incrementally: complete, partial (the NIC or the
 * far end of a veth finishes it), already checked by the NIC (CHECKSUM_COMPLETE), or absent (UDP over IPv4).
 */
#ifndef XLB_BPF_NAT_H
#define XLB_BPF_NAT_H

#include "bpf/checksum.h"
#include "bpf/packet.h"

#define SOURCE_SIDE 0
#define DESTINATION_SIDE 1

INLINE __u32 checksum_offset(__u8 protocol)
{
	return protocol == IPPROTO_TCP ? 16 : 6;
}

/*
 * bpf_l4_csum_replace() for an address. For IPv6 it also "corrects" the sum that the NIC computed over the whole frame,
 * although the changed address and the changed checksum cancel out there; kernels before 6.16 offer no flag against it.
 * bpf_csum_update() takes that correction back. It does nothing for frames without such a sum.
 */
INLINE long replace_address_in_checksum(struct __sk_buff *skb, __u32 offset, const struct lb_addr *from,
					const struct lb_addr *to, bool ipv6, __u64 flags)
{
	__u32 change;
	long error;

	if (!ipv6)
		return bpf_l4_csum_replace(skb, offset, from->word[3], to->word[3], flags | BPF_F_PSEUDO_HDR | 4);
	change = sum_change_address(from, to);
	error = bpf_l4_csum_replace(skb, offset, 0, change, flags | BPF_F_PSEUDO_HDR);
	if (!error)
		bpf_csum_update(skb, change);
	return error;
}

/* The address where a checksum further in takes back its change in the sum of the frame; IPv4's own header does. */
INLINE long replace_address(struct __sk_buff *skb, const struct packet *packet, int side, const struct lb_addr *from,
			    const struct lb_addr *to)
{
	if (packet->ipv6)
		return bpf_skb_store_bytes(skb, packet->l3 + (side == SOURCE_SIDE ? 8 : 24), to, 16, 0);
	if (bpf_l3_csum_replace(skb, packet->l3 + 10, from->word[3], to->word[3], 4))
		return -1;
	return bpf_skb_store_bytes(skb, packet->l3 + (side == SOURCE_SIDE ? 12 : 16), &to->word[3], 4, 0);
}

/* The address of a later fragment: in IPv6 nothing takes back its change in a sum that the NIC made. */
INLINE long replace_fragment_address(struct __sk_buff *skb, const struct packet *packet, int side,
				     const struct lb_addr *from, const struct lb_addr *to)
{
	if (packet->ipv6)
		bpf_csum_update(skb, sum_change_address(from, to));
	return replace_address(skb, packet, side, from, to);
}

/* Addresses and ports as they lie in a packet without options or extension headers: written by one call. */
struct ipv4_tail {
	__u16 checksum;
	__be32 source;
	__be32 destination;
	__be16 ports[2];
} __attribute__((packed));

struct ipv6_tail {
	struct lb_addr source;
	struct lb_addr destination;
	__be16 ports[2];
};

/* The common case of write_addresses(). */
INLINE long write_plain(struct __sk_buff *skb, const struct packet *packet, int side, const struct lb_addr *from,
			const struct lb_addr *to, __be16 to_port)
{
	bool source = side == SOURCE_SIDE;
	__be16 source_port = source ? to_port : packet->source_port;
	__be16 destination_port = source ? packet->destination_port : to_port;

	if (packet->ipv6) {
		struct ipv6_tail tail = {
		    source ? *to : packet->source, source ? packet->destination : *to, {source_port, destination_port}};

		return bpf_skb_store_bytes(skb, packet->l3 + 8, &tail, sizeof(tail), 0);
	} else {
		struct iphdr *ip = frame_at(skb, XLB_PROGRAM_LAN_TC, packet->l3, sizeof(*ip));
		struct ipv4_tail tail = {0,
					 source ? to->word[3] : packet->source.word[3],
					 source ? packet->destination.word[3] : to->word[3],
					 {source_port, destination_port}};

		if (!ip)
			return -1;
		tail.checksum = checksum_after(ip->check, sum_add(~from->word[3], to->word[3]));
		return bpf_skb_store_bytes(skb, packet->l3 + 10, &tail, sizeof(tail), 0);
	}
}

INLINE long write_addresses(struct __sk_buff *skb, const struct packet *packet, int side, const struct lb_addr *from,
			    const struct lb_addr *to, __be16 to_port)
{
	if (packet->l4 - packet->l3 == (packet->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return write_plain(skb, packet, side, from, to, to_port);
	if (bpf_skb_store_bytes(skb, packet->l4 + (side == SOURCE_SIDE ? 0 : 2), &to_port, 2, 0))
		return -1;
	return replace_address(skb, packet, side, from, to);
}

/*
 * Puts (to, to_port) in the place of one side's address and port, in a TCP or UDP packet or the first fragment of one.
 * 0, or negative: drop it. A global function (verdict.h says why).
 */
__noinline int xlb_translate(struct __sk_buff *skb, const struct packet *packet, const struct lb_addr *to, __u32 port,
			     int side)
{
	__be16 to_port = (__be16)port;
	const struct lb_addr *from;
	__be16 from_port;
	__u64 flags;
	__u32 at;

	if (!packet || !to)
		return -1;
	from = side == SOURCE_SIDE ? &packet->source : &packet->destination;
	from_port = side == SOURCE_SIDE ? packet->source_port : packet->destination_port;
	flags = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	at = packet->l4 + checksum_offset(packet->protocol);
	if (packet->no_checksum) {
		/* Nothing takes back the change in a sum that the NIC made, but for IPv4's header the address's. */
		bpf_csum_update(skb, packet->ipv6
					 ? sum_add(sum_change_address(from, to), sum_change16(from_port, to_port))
					 : sum_change16(from_port, to_port));
		return (int)write_addresses(skb, packet, side, from, to, to_port);
	}
	if (replace_address_in_checksum(skb, at, from, to, packet->ipv6, flags))
		return -1;
	if (from_port != to_port && bpf_l4_csum_replace(skb, at, from_port, to_port, flags | 2))
		return -1;
	return (int)write_addresses(skb, packet, side, from, to, to_port);
}

#endif /* XLB_BPF_NAT_H */
