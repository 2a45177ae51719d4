/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A VIP that was taken over from another announcer, which still runs on this node (MetalLB's speaker, while it is being
 * replaced): what that one says of the VIP does not leave. Ours is told by its mark; answers that the programs write in place
 * do not come by here.
 */
#ifndef XLB_BPF_SILENCE_H
#define XLB_BPF_SILENCE_H

#include "bpf/neighbor.h"

INLINE int silence(struct __sk_buff *skb, const struct lb_node *node, const struct packet *packet,
		   const struct lb_vip *vip)
{
	if (!vip || !(vip->flags & XLB_VIP_TAKEN_OVER) ||
	    (__u32)CONTEXT_FIELD(skb, struct __sk_buff, mark) == XLB_MARK_OWN)
		return TC_ACT_UNSPEC;
	conclude(XLB_PROGRAM_EGRESS, node, packet, NULL, XLB_VERDICT_SILENCED);
	return TC_ACT_SHOT;
}

/*
 * Replies, and requests in which sender and target are one (RFC 5227, 3): both say where the VIP is. A plain question whose
 * sender is the VIP is none of that: the kernel asks so where the VIP is an address of its own (kube-proxy's IPVS mode).
 */
static __noinline int silence_arp(struct __sk_buff *skb, const struct lb_node *node, struct packet *packet)
{
	struct arp *at = frame_at(skb, XLB_PROGRAM_EGRESS, packet->l3, sizeof(*at));
	struct arp said;
	struct lb_vip *vip;

	if (!at)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(&said, at, sizeof(said));
	if (said.protocol != bpf_htons(ETH_P_IP) || said.protocol_len != 4 || said.hardware_len != 6)
		return TC_ACT_UNSPEC;
	if (said.operation == bpf_htons(ARP_REQUEST) &&
	    (said.sender_ip[0] != said.target_ip[0] || said.sender_ip[1] != said.target_ip[1]))
		return TC_ACT_UNSPEC;
	vip = vip_of_ipv4(said.sender_ip, &packet->destination);
	packet->source = packet->destination;
	return silence(skb, node, packet, vip);
}

/* An advertisement; `packet` has addresses and transport read. */
static __noinline int silence_nd(struct __sk_buff *skb, const struct lb_node *node, struct packet *packet)
{
	struct nd *said = frame_at(skb, XLB_PROGRAM_EGRESS, packet->l4, ND_FIXED);
	struct lb_addr target;

	if (!said)
		return TC_ACT_UNSPEC;
	target = said->target;
	if (is_mapped(&target))
		return TC_ACT_UNSPEC;
	packet->destination = target;
	return silence(skb, node, packet, bpf_map_lookup_elem(&xlb_vips, &target));
}

#endif /* XLB_BPF_SILENCE_H */
