/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a frame says, read once into a struct, and the few ways in which the two contexts (XDP and tc) differ.
 *
 * Reading is in two steps, because nearly every frame is not for a VIP: addresses first, the rest only for a VIP.
 * Every function takes `program` (XLB_PROGRAM_…) as a constant, so that the compiler drops the other context's branch.
 */
#ifndef XLB_BPF_PACKET_H
#define XLB_BPF_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps/abi.h"
#include "maps/tables.bpf.h"

#define INLINE static __always_inline

/* Headers are read from the linear part only; this much is pulled there when it lies in fragments. */
#define HEADERS_MAX 192u
#define EXTENSION_HEADERS_MAX 6
#define L4_OFFSET_MAX 160u

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/*
 * MAC addresses are read, compared and written by halfwords: in frames, tables and structs they begin at even places. The
 * compiler, told nothing, goes byte by byte, which costs an ARP answer a quarter of its time.
 */
typedef __u16 __attribute__((may_alias)) mac_half;

struct ethernet {
	__u16 destination[3];
	__u16 source[3];
	__be16 ethertype;
};

#define WHOLE 0u /* packet.fragment */
#define FIRST_FRAGMENT 1u
#define LATER_FRAGMENT 2u

struct packet {
	struct lb_addr source;
	struct lb_addr destination;
	__u32 length;  /* of the frame, bytes */
	__u32 ifindex; /* interface it came in by (xlb_egress: leaves by) */
	__u32 l3;      /* offset of the IP header, or of what follows Ethernet and VLAN tags */
	__u32 l4;      /* offset of the transport header; valid after read_transport() */
	__u32 payload; /* bytes after the transport header */
	__be32 fragment_id;
	__be16 ethertype;
	__be16 source_port;
	__be16 destination_port;
	__u16 vlan; /* id, 0: untagged */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 fragment;
	__u8 claimant[6]; /* MAC of the host that claims a VIP of ours: set with XLB_VERDICT_CONFLICT */
	__u8 mac_is_own;
	__u8 mac_is_group; /* broadcast or multicast */
	__u8 mac_is_broadcast;
	__u8 tagged; /* tags in the frame or in the metadata: 0, 1, 2 */
	__u8 ipv6;
	__u8 no_checksum; /* UDP whose sender made none */
};

/* ---- the two contexts -------------------------------------------------------------------------------------------- */

INLINE bool is_xdp(int program)
{
	return program == XLB_PROGRAM_LAN_XDP;
}

/*
 * Context fields are loaded by one instruction with a constant offset. Left to itself the compiler may add the offset
 * to the pointer first, and the verifier refuses a modified context pointer.
 */
#define CONTEXT_FIELD(ctx, type, field)                                                                                \
	({                                                                                                             \
		unsigned long value_;                                                                                  \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                                  \
			     : "=r"(value_)                                                                            \
			     : "r"(ctx), "i"(__builtin_offsetof(type, field)));                                        \
		value_;                                                                                                \
	})

INLINE void *frame_start(void *ctx, int program)
{
	return is_xdp(program) ? (void *)CONTEXT_FIELD(ctx, struct xdp_md, data)
			       : (void *)CONTEXT_FIELD(ctx, struct __sk_buff, data);
}

INLINE void *frame_end(void *ctx, int program)
{
	return is_xdp(program) ? (void *)CONTEXT_FIELD(ctx, struct xdp_md, data_end)
			       : (void *)CONTEXT_FIELD(ctx, struct __sk_buff, data_end);
}

INLINE __u32 frame_length(void *ctx, int program)
{
	if (is_xdp(program))
		return (__u32)(frame_end(ctx, program) - frame_start(ctx, program));
	return (__u32)CONTEXT_FIELD(ctx, struct __sk_buff, len);
}

INLINE __u32 frame_ifindex(void *ctx, int program)
{
	return is_xdp(program) ? (__u32)CONTEXT_FIELD(ctx, struct xdp_md, ingress_ifindex)
			       : (__u32)CONTEXT_FIELD(ctx, struct __sk_buff, ifindex);
}

/* VLAN tag that the NIC or the stack has taken out of the frame: -1, or the tag control information. */
INLINE int frame_tag(void *ctx, int program)
{
	if (is_xdp(program) || !CONTEXT_FIELD(ctx, struct __sk_buff, vlan_present))
		return -1;
	return (int)CONTEXT_FIELD(ctx, struct __sk_buff, vlan_tci);
}

/* Leaves the frame to the kernel and to other programs. */
INLINE int pass_on(int program)
{
	return is_xdp(program) ? XDP_PASS : TC_ACT_UNSPEC;
}

INLINE int drop(int program)
{
	return is_xdp(program) ? XDP_DROP : TC_ACT_SHOT;
}

/* Out of the interface that it came in by. */
INLINE int send_back(void *ctx, int program)
{
	if (is_xdp(program))
		return XDP_TX;
	((struct __sk_buff *)ctx)->tc_index = XLB_TC_INDEX_DONE;
	return (int)bpf_redirect(frame_ifindex(ctx, program), 0);
}

/* `size` is a constant. The masks tell the verifier what the caller already made sure of. */
INLINE void *frame_at(void *ctx, int program, __u32 offset, __u32 size)
{
	void *start = frame_start(ctx, program);
	void *end = frame_end(ctx, program);

	barrier_var(offset);
	offset &= 0x1ff;
	if (start + offset + size > end)
		return NULL;
	return start + offset;
}

/* 0, or negative. In tc by helper, so that a shared frame is copied first only when something is really written. */
INLINE long frame_write(void *ctx, int program, __u32 offset, const void *bytes, __u32 size)
{
	void *at;

	if (!is_xdp(program)) /* a sum over the frame, if the NIC made one, begins behind the Ethernet header */
		return bpf_skb_store_bytes(ctx, offset, bytes, size, offset < ETH_HLEN ? 0 : BPF_F_RECOMPUTE_CSUM);
	at = frame_at(ctx, program, offset, size);
	if (!at)
		return -1;
	if (size & 1)
		__builtin_memcpy(at, bytes, size);
	else /* headers and their fields begin at even places */
		__builtin_memcpy(__builtin_assume_aligned(at, 2), bytes, size);
	return 0;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

INLINE void set_ipv4(struct lb_addr *address, __be32 ipv4)
{
	address->word[0] = 0;
	address->word[1] = 0;
	address->word[2] = bpf_htonl(0xffff);
	address->word[3] = ipv4;
}

INLINE bool same_address(const struct lb_addr *left, const struct lb_addr *right)
{
	return left->word[3] == right->word[3] && left->word[2] == right->word[2] && left->word[1] == right->word[1] &&
	       left->word[0] == right->word[0];
}

INLINE bool is_mapped(const struct lb_addr *address)
{
	return address->word[0] == 0 && address->word[1] == 0 && address->word[2] == bpf_htonl(0xffff);
}

INLINE bool same_mac(const void *left, const void *right)
{
	const mac_half *l = left, *r = right;

	return ((l[0] ^ r[0]) | (l[1] ^ r[1]) | (l[2] ^ r[2])) == 0;
}

INLINE void copy_mac(void *to, const void *from)
{
	mac_half *t = to;
	const mac_half *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
}

/* Addresses that nobody may send from: replies to them would go to many, or to ourselves. */
INLINE bool impossible_source(const struct packet *packet)
{
	__u8 first = (__u8)(bpf_ntohl(packet->source.word[3]) >> 24);

	if (packet->ipv6)
		return (packet->source.word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) ||
		       (packet->source.word[0] == 0 && packet->source.word[1] == 0 && packet->source.word[2] == 0 &&
			(packet->source.word[3] & ~bpf_htonl(1)) == 0);
	return first == 0 || first == 127 || first >= 224;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Sizes the linear part so that the headers can be read in place. */
INLINE void pull_headers(struct __sk_buff *skb)
{
	__u32 length = frame_length(skb, XLB_PROGRAM_LAN_TC);
	__u32 wanted = length < HEADERS_MAX ? length : HEADERS_MAX;

	if (frame_end(skb, XLB_PROGRAM_LAN_TC) - frame_start(skb, XLB_PROGRAM_LAN_TC) < wanted)
		bpf_skb_pull_data(skb, wanted);
}

/* Ethernet and up to two VLAN tags, in the frame or in the skb's metadata. False: too short to say anything. */
INLINE bool read_ethernet(void *ctx, int program, struct packet *packet)
{
	int tag_in_metadata = frame_tag(ctx, program);
	struct ethernet *eth = frame_at(ctx, program, 0, sizeof(*eth));
	__be16 *tag;

	if (!eth)
		return false;
	packet->length = frame_length(ctx, program);
	packet->ifindex = frame_ifindex(ctx, program);
	packet->l3 = sizeof(*eth);
	packet->vlan = 0;
	packet->tagged = 0;
	packet->ethertype = eth->ethertype;
	packet->mac_is_group = (eth->destination[0] & bpf_htons(0x0100)) != 0;
	packet->mac_is_broadcast = (eth->destination[0] & eth->destination[1] & eth->destination[2]) == 0xffff;
	if (tag_in_metadata >= 0) {
		packet->vlan = (__u16)(tag_in_metadata & 0x0fff);
		packet->tagged = 1;
	}
	if (packet->ethertype == bpf_htons(ETH_P_8021Q) || packet->ethertype == bpf_htons(ETH_P_8021AD)) {
		tag = frame_at(ctx, program, sizeof(*eth), 4);
		if (!tag)
			return false;
		packet->vlan = bpf_ntohs(tag[0]) & 0x0fff;
		packet->ethertype = tag[1];
		packet->l3 += 4;
		packet->tagged++;
		if (packet->ethertype == bpf_htons(ETH_P_8021Q) || packet->ethertype == bpf_htons(ETH_P_8021AD))
			packet->tagged = 2; /* QinQ is not ours */
	}
	return true;
}

/* Source and destination of IPv4 or IPv6. False: not IP, or cut short. */
INLINE bool read_addresses(void *ctx, int program, struct packet *packet)
{
	if (packet->ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = frame_at(ctx, program, packet->l3, sizeof(*ip));

		if (!ip)
			return false;
		packet->ipv6 = 0;
		set_ipv4(&packet->source, ip->saddr);
		set_ipv4(&packet->destination, ip->daddr);
		packet->protocol = ip->protocol;
		return true;
	}
	if (packet->ethertype == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = frame_at(ctx, program, packet->l3, sizeof(*ip));

		if (!ip)
			return false;
		packet->ipv6 = 1;
		__builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
		__builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
		packet->protocol = ip->nexthdr;
		/* IPv4 in IPv6's clothes is never on a wire (RFC 4291, 2.5.5.2): it must not find an IPv4 VIP. */
		return !is_mapped(&packet->source) && !is_mapped(&packet->destination);
	}
	return false;
}

/* IPv6 extension headers (RFC 8200, 4.1): finds the transport header. */
INLINE bool read_extensions(void *ctx, int program, struct packet *packet, __u32 *transport)
{
	__u32 offset = packet->l3 + sizeof(struct ipv6hdr);
	__u8 next = packet->protocol;

	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		__u8 *header;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		if (offset > L4_OFFSET_MAX)
			return false;
		header = frame_at(ctx, program, offset, 8);
		if (!header)
			return false;
		if (next == IPPROTO_FRAGMENT) {
			__u16 where = (__u16)((header[2] << 8) | header[3]);

			__builtin_memcpy(&packet->fragment_id, header + 4, 4);
			if (where & 0xfff8)
				packet->fragment = LATER_FRAGMENT;
			else if (where & 1)
				packet->fragment = FIRST_FRAGMENT;
			next = header[0];
			offset += 8;
			if (packet->fragment == LATER_FRAGMENT)
				break;
		} else {
			__u32 size = ((__u32)header[1] + 1) * 8;

			next = header[0];
			offset += size;
		}
	}
	packet->protocol = next;
	*transport = offset;
	return offset <= L4_OFFSET_MAX;
}

/* The rest of the headers, after read_addresses(). False: cut short or contradicting itself. */
INLINE bool read_transport(void *ctx, int program, struct packet *packet)
{
	__u32 l3_end; /* first byte after the IP datagram, as its own length field says */
	__u32 l4;

	packet->fragment = WHOLE;
	packet->source_port = 0;
	packet->destination_port = 0;
	packet->tcp_flags = 0;
	packet->icmp_type = 0;
	packet->payload = 0;
	packet->fragment_id = 0;
	packet->no_checksum = 0;

	if (!packet->ipv6) {
		struct iphdr *ip = frame_at(ctx, program, packet->l3, sizeof(*ip));
		__u32 header;

		if (!ip)
			return false;
		header = (__u32)ip->ihl * 4;
		if (ip->version != 4 || header < sizeof(*ip))
			return false;
		l3_end = packet->l3 + bpf_ntohs(ip->tot_len);
		l4 = packet->l3 + header;
		if (ip->frag_off & bpf_htons(0x1fff))
			packet->fragment = LATER_FRAGMENT;
		else if (ip->frag_off & bpf_htons(0x2000))
			packet->fragment = FIRST_FRAGMENT;
		packet->fragment_id = (__be32)ip->id;
	} else {
		struct ipv6hdr *ip = frame_at(ctx, program, packet->l3, sizeof(*ip));

		if (!ip || ip->version != 6)
			return false;
		l3_end = packet->l3 + (__u32)sizeof(*ip) + bpf_ntohs(ip->payload_len);
		if (!read_extensions(ctx, program, packet, &l4))
			return false;
	}
	packet->l4 = l4;
	if (l3_end > packet->length || l4 > l3_end)
		return false;
	if (packet->fragment == LATER_FRAGMENT)
		return true;

	if (packet->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = frame_at(ctx, program, l4, sizeof(*tcp));
		__u32 header;

		if (!tcp || l4 + sizeof(*tcp) > l3_end)
			return false;
		header = (__u32)tcp->doff * 4;
		if (header < sizeof(*tcp) || l4 + header > l3_end)
			return false;
		packet->source_port = tcp->source;
		packet->destination_port = tcp->dest;
		packet->tcp_flags = ((__u8 *)tcp)[13];
		packet->payload = l3_end - l4 - header;
	} else if (packet->protocol == IPPROTO_UDP) {
		struct udphdr *udp = frame_at(ctx, program, l4, sizeof(*udp));

		if (!udp || l4 + sizeof(*udp) > l3_end)
			return false;
		packet->source_port = udp->source;
		packet->destination_port = udp->dest;
		packet->payload = l3_end - l4 - (__u32)sizeof(*udp);
		packet->no_checksum = udp->check == 0;
		if (bpf_ntohs(udp->len) < sizeof(*udp) ||
		    (packet->fragment == WHOLE && l4 + bpf_ntohs(udp->len) > l3_end))
			return false;
	} else if (packet->protocol == (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		__u8 *icmp = frame_at(ctx, program, l4, 8);

		if (!icmp || l4 + 8 > l3_end)
			return false;
		packet->icmp_type = icmp[0];
		packet->payload = l3_end - l4 - 8;
	}
	return true;
}

/*
 * As global functions: the verifier looks at them once, and what follows starts from one state instead of from one for
 * each path through the headers. 0: cut short or contradicting itself.
 */
__noinline int xlb_read_xdp(struct xdp_md *xdp, struct packet *packet)
{
	return packet && read_transport(xdp, XLB_PROGRAM_LAN_XDP, packet);
}

__noinline int xlb_read_tc(struct __sk_buff *skb, struct packet *packet)
{
	return packet && read_transport(skb, XLB_PROGRAM_LAN_TC, packet);
}

INLINE bool read_rest(void *ctx, int program, struct packet *packet)
{
	return is_xdp(program) ? xlb_read_xdp(ctx, packet) : xlb_read_tc(ctx, packet);
}

#endif /* XLB_BPF_PACKET_H */
