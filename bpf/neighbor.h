/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who has 192.168.0.200? ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861, 7) for the VIPs that this node
 * owns.
 *
 * An answer is given only while the VIP carries the node's epoch and the daemon's lease is fresh. Answers that are as
 * long as the question are made in place in either context; an advertisement that must grow is the tc twin's.
 */
#ifndef XLB_BPF_NEIGHBOR_H
#define XLB_BPF_NEIGHBOR_H

#include "bpf/checksum.h"
#include "bpf/packet.h"
#include "bpf/verdict.h"

#define ARP_REQUEST 1

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u16 sender_mac[3];
	__u16 sender_ip[2];
	__u16 target_mac[3];
	__u16 target_ip[2];
};

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_SOURCE_LINK_ADDRESS 1
#define ND_TARGET_LINK_ADDRESS 2
#define ND_HOP_LIMIT 255
#define ND_FLAG_SOLICITED 0x40
#define ND_MESSAGE_MAX 72u /* fixed part, link address option and room for others, such as a nonce */

struct nd {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__u8 flags[4]; /* of an advertisement; reserved in a solicitation */
	struct lb_addr target;
	__u8 option_type;
	__u8 option_len; /* in units of 8 bytes */
	__u8 option_mac[6];
};

#define ND_FIXED 24u /* struct nd without the option */

INLINE bool owned_here(const struct lb_node *node, const struct lb_link *link, const struct lb_vip *vip)
{
	return vip->owned_epoch != 0 && vip->owned_epoch == node->epoch && (vip->link_mask & link->link_bit);
}

INLINE bool lease_fresh(const struct lb_node *node)
{
	return node->lease_boot_ns == XLB_FOREVER || bpf_ktime_get_boot_ns() < node->lease_boot_ns;
}

/* Not this node's to answer: nor is it anybody else's on this node, if the VIP was taken over from there. */
INLINE __u32 left_alone(const struct lb_vip *vip)
{
	return vip->flags & XLB_VIP_TAKEN_OVER ? XLB_VERDICT_TAKEN_OVER : XLB_VERDICT_PASS;
}

INLINE struct lb_vip *vip_of_ipv4(const __u16 *halves, struct lb_addr *address)
{
	__be32 ipv4;

	__builtin_memcpy(&ipv4, halves, sizeof(ipv4));
	set_ipv4(address, ipv4);
	return bpf_map_lookup_elem(&xlb_vips, address);
}

/* The verdict; XLB_VERDICT_ARP_REPLY: the frame is the answer now, send it back. */
INLINE __u32 answer_arp(void *ctx, int program, const struct lb_node *node, const struct lb_link *link,
			struct packet *packet)
{
	struct arp *arp = frame_at(ctx, program, packet->l3, sizeof(*arp));
	struct arp question, answer;
	struct {
		__u16 to[3];
		__u16 from[3];
	} macs;
	struct lb_vip *vip;

	if (!arp)
		return XLB_VERDICT_PASS;
	__builtin_memcpy(&question, arp, sizeof(question));
	if (question.hardware != bpf_htons(1) || question.protocol != bpf_htons(ETH_P_IP) ||
	    question.hardware_len != 6 || question.protocol_len != 4)
		return XLB_VERDICT_PASS;

	vip = vip_of_ipv4(question.sender_ip, &packet->source);
	if (vip && owned_here(node, link, vip) && !same_mac(question.sender_mac, link->mac)) {
		packet->destination = packet->source;
		copy_mac(packet->claimant, question.sender_mac);
		return XLB_VERDICT_CONFLICT;
	}

	if (question.operation != bpf_htons(ARP_REQUEST))
		return XLB_VERDICT_PASS;
	vip = vip_of_ipv4(question.target_ip, &packet->destination);
	if (!vip)
		return XLB_VERDICT_PASS;
	if (!owned_here(node, link, vip))
		return left_alone(vip);
	if (!lease_fresh(node))
		return XLB_VERDICT_LEASE_OVER;

	answer = question;
	answer.operation = bpf_htons(2);
	copy_mac(answer.sender_mac, link->mac);
	__builtin_memcpy(answer.sender_ip, question.target_ip, 4);
	__builtin_memcpy(answer.target_mac, question.sender_mac, 6);
	__builtin_memcpy(answer.target_ip, question.sender_ip, 4);
	copy_mac(macs.to, question.sender_mac);
	copy_mac(macs.from, link->mac);
	if (frame_write(ctx, program, packet->l3, &answer, sizeof(answer)) ||
	    frame_write(ctx, program, 0, &macs, sizeof(macs)))
		return XLB_VERDICT_ERROR;
	count_answer(vip->vip_id);
	return XLB_VERDICT_ARP_REPLY;
}

/* The whole frame of an advertisement. `macs` to `message` go over the wire as they stand, but for a VLAN tag between.
 */
struct advertisement {
	struct ipv6hdr ip;
	struct nd message;
};

INLINE void write_advertisement(struct advertisement *out, const struct lb_link *link, const struct lb_addr *vip,
				const struct lb_addr *asker, bool asker_known)
{
	struct lb_addr to = *asker;
	__u32 sum;

	if (!asker_known) { /* ff02::1, all nodes */
		to.word[0] = bpf_htonl(0xff020000);
		to.word[1] = 0;
		to.word[2] = 0;
		to.word[3] = bpf_htonl(1);
	}
	__builtin_memset(out, 0, sizeof(*out));
	out->ip.version = 6;
	out->ip.payload_len = bpf_htons(sizeof(out->message));
	out->ip.nexthdr = IPPROTO_ICMPV6;
	out->ip.hop_limit = ND_HOP_LIMIT;
	__builtin_memcpy(&out->ip.saddr, vip, sizeof(*vip));
	__builtin_memcpy(&out->ip.daddr, &to, sizeof(to));
	out->message.type = ND_ADVERTISEMENT;
	/* Override stays 0: an answer must not fight with another owner's during a move; announcements set it. */
	out->message.flags[0] = asker_known ? ND_FLAG_SOLICITED : 0;
	out->message.target = *vip;
	out->message.option_type = ND_TARGET_LINK_ADDRESS;
	out->message.option_len = 1;
	copy_mac(out->message.option_mac, link->mac);
	sum = sum_pseudo_header(vip, &to, true, IPPROTO_ICMPV6, sizeof(out->message));
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&out->message, sizeof(out->message), sum);
	out->message.checksum = (__u16)~sum_fold(sum);
}

/* ff02::1:ff00:0/104 (RFC 4291, 2.7.1) */
INLINE bool is_solicited_node(const struct lb_addr *address)
{
	return address->word[0] == bpf_htonl(0xff020000) && address->word[1] == 0 && address->word[2] == bpf_htonl(1) &&
	       (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* RFC 4861, 7.1.1: no option is empty, and who does not know his address has no link address to tell. */
INLINE bool options_valid(const __u8 *message, __u32 length, bool asker_known)
{
	__u32 offset = ND_FIXED;

	for (int i = 0; i < (int)(ND_MESSAGE_MAX - ND_FIXED) / 8; i++) {
		__u32 size;

		if (offset + 8 > length)
			break;
		barrier_var(offset); /* or the verifier does not see that the next line bounds what is used below */
		if (offset > ND_MESSAGE_MAX - 8)
			break;
		size = (__u32)message[offset + 1] * 8;
		if (size == 0 || (message[offset] == ND_SOURCE_LINK_ADDRESS && !asker_known))
			return false;
		offset += size;
	}
	return true;
}

/*
 * Neighbour solicitation or advertisement; `packet` has addresses and transport read. The verdict;
 * XLB_VERDICT_ND_REPLY: the frame is the answer now. XDP takes the plain case only: a known asker, exactly one link
 * address option.
 */
INLINE __u32 answer_nd(void *ctx, int program, const struct lb_node *node, const struct lb_link *link,
		       struct packet *packet)
{
	__u8 message[ND_MESSAGE_MAX] __attribute__((aligned(8))) = {};
	struct nd *question = (struct nd *)message;
	__u32 length = packet->payload + 8;
	bool asker_known =
	    packet->source.word[0] || packet->source.word[1] || packet->source.word[2] || packet->source.word[3];
	struct advertisement answer;
	struct ipv6hdr *ip;
	struct lb_vip *vip;
	struct ethernet *eth;
	struct {
		__u16 to[3];
		__u16 from[3];
	} macs;
	__u32 sum;

	ip = frame_at(ctx, program, packet->l3, sizeof(*ip));
	if (!ip || ip->hop_limit != ND_HOP_LIMIT || packet->l4 != packet->l3 + sizeof(*ip))
		return XLB_VERDICT_PASS;
	if (length < ND_FIXED || length > ND_MESSAGE_MAX)
		return XLB_VERDICT_PASS;
	if (is_xdp(program)) {
		void *at = frame_at(ctx, program, packet->l4, sizeof(struct nd));

		if (length != sizeof(struct nd) || !at)
			return XLB_VERDICT_PASS;
		__builtin_memcpy(message, at, sizeof(struct nd));
	} else {
		barrier_var(length);
		length &= 0x7f;
		if (length < ND_FIXED || length > ND_MESSAGE_MAX ||
		    bpf_skb_load_bytes(ctx, packet->l4, message, length))
			return XLB_VERDICT_PASS;
	}
	if (question->code != 0 || is_mapped(&question->target))
		return XLB_VERDICT_PASS;
	if (!is_xdp(program) && !options_valid(message, length, asker_known))
		return XLB_VERDICT_PASS;
	if (!asker_known && !is_solicited_node(&packet->destination) && question->type == ND_SOLICITATION)
		return XLB_VERDICT_PASS;
	vip = bpf_map_lookup_elem(&xlb_vips, &question->target);
	if (!vip)
		return XLB_VERDICT_PASS;
	if (!owned_here(node, link, vip)) {
		packet->destination = question->target;
		return question->type == ND_SOLICITATION ? left_alone(vip) : XLB_VERDICT_PASS;
	}
	sum = sum_pseudo_header(&packet->source, &packet->destination, true, IPPROTO_ICMPV6, packet->payload + 8);
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)message, sizeof(message), sum);
	if (sum_fold(sum) != 0xffff)
		return XLB_VERDICT_PASS;

	eth = frame_at(ctx, program, 0, sizeof(*eth));
	if (!eth)
		return XLB_VERDICT_PASS;
	if (question->type == ND_ADVERTISEMENT) {
		if (same_mac(eth->source, link->mac))
			return XLB_VERDICT_PASS;
		copy_mac(packet->claimant, eth->source);
		packet->source = question->target;
		packet->destination = question->target;
		return XLB_VERDICT_CONFLICT;
	}

	if (is_xdp(program) &&
	    (!asker_known || question->option_type != ND_SOURCE_LINK_ADDRESS || question->option_len != 1))
		return XLB_VERDICT_PASS;
	if (!lease_fresh(node))
		return XLB_VERDICT_LEASE_OVER;

	copy_mac(macs.to, eth->source);
	if (!asker_known) { /* to ff02::1: 33:33:00:00:00:01 */
		macs.to[0] = bpf_htons(0x3333);
		macs.to[1] = 0;
		macs.to[2] = bpf_htons(1);
	}
	copy_mac(macs.from, link->mac);
	packet->destination = question->target;
	write_advertisement(&answer, link, &question->target, &packet->source, asker_known);
	if (!is_xdp(program) && bpf_skb_change_tail(ctx, packet->l3 + sizeof(answer), 0))
		return XLB_VERDICT_ERROR;
	if (frame_write(ctx, program, packet->l3, &answer, sizeof(answer)) ||
	    frame_write(ctx, program, 0, &macs, sizeof(macs)))
		return XLB_VERDICT_ERROR;
	count_answer(vip->vip_id);
	return XLB_VERDICT_ND_REPLY;
}

/* Global functions: verified once, and with a stack of their own. */
__noinline int xlb_answer_arp_xdp(struct xdp_md *xdp, const struct lb_node *node, const struct lb_link *link,
				  struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)answer_arp(xdp, XLB_PROGRAM_LAN_XDP, node, link, packet);
}

__noinline int xlb_answer_arp_tc(struct __sk_buff *skb, const struct lb_node *node, const struct lb_link *link,
				 struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)answer_arp(skb, XLB_PROGRAM_LAN_TC, node, link, packet);
}

__noinline int xlb_answer_nd_xdp(struct xdp_md *xdp, const struct lb_node *node, const struct lb_link *link,
				 struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)answer_nd(xdp, XLB_PROGRAM_LAN_XDP, node, link, packet);
}

__noinline int xlb_answer_nd_tc(struct __sk_buff *skb, const struct lb_node *node, const struct lb_link *link,
				struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)answer_nd(skb, XLB_PROGRAM_LAN_TC, node, link, packet);
}

/* What becomes of the frame. XDP leaves counting to its twin whenever the frame goes on there. */
INLINE int neighbor_outcome(void *ctx, int program, const struct lb_node *node, const struct packet *packet,
			    __u32 verdict)
{
	bool dropped = verdict == XLB_VERDICT_ERROR || verdict == XLB_VERDICT_TAKEN_OVER;
	bool ends_here = dropped || verdict == XLB_VERDICT_ARP_REPLY || verdict == XLB_VERDICT_ND_REPLY;

	if (verdict == XLB_VERDICT_PASS || (is_xdp(program) && !ends_here))
		return pass_on(program);
	conclude(program, node, packet, NULL, verdict);
	if (verdict == XLB_VERDICT_CONFLICT)
		report(program, packet, verdict, XLB_EVENT_CONFLICT);
	if (dropped)
		return drop(program);
	return ends_here ? send_back(ctx, program) : pass_on(program);
}

#endif /* XLB_BPF_NEIGHBOR_H */
