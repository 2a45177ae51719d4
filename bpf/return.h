/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backend to client: the VIP is put back as the source. On a pod's veth the packet then leaves directly by the flow's
 * interface; at LAN egress (backends that are sockets of this node, kernel path) it just goes on.
 */
#ifndef XLB_BPF_RETURN_H
#define XLB_BPF_RETURN_H

#include "bpf/flow.h"
#include "bpf/forward.h"
#include "bpf/icmp.h"
#include "bpf/nat.h"
#include "bpf/packet.h"
#include "bpf/silence.h"
#include "bpf/steer.h"
#include "bpf/verdict.h"

/* xlb_return leaves the kernel path alone: its packets meet xlb_egress behind netfilter. */
INLINE bool not_here(int program, __u8 flow_flags)
{
	return program == XLB_PROGRAM_RETURN && (flow_flags & XLB_FLOW_KERNEL);
}

INLINE int leave(struct __sk_buff *skb, int program, const struct lb_node *node, const struct packet *packet,
		 __u32 l3_ifindex, __u32 verdict)
{
	if (program == XLB_PROGRAM_EGRESS && verdict == XLB_VERDICT_RETURNED)
		verdict = XLB_VERDICT_RETURNED_KERNEL;
	conclude(program, node, packet, NULL, verdict);
	if (program == XLB_PROGRAM_EGRESS)
		return TC_ACT_UNSPEC;
	return to_client(skb, l3_ifindex);
}

INLINE int return_failed(int program, const struct lb_node *node, const struct packet *packet)
{
	conclude(program, node, packet, NULL, XLB_VERDICT_ERROR);
	return TC_ACT_SHOT;
}

INLINE int return_fragment(struct __sk_buff *skb, int program, const struct lb_node *node, const struct packet *packet,
			   __u64 now)
{
	struct lb_frag *frag = known_fragment(packet, XLB_FROM_BACKEND, now);

	if (!frag || not_here(program, frag->flags))
		return TC_ACT_UNSPEC;
	count_out(frag->service_id, packet->length);
	if (replace_fragment_address(skb, packet, SOURCE_SIDE, &packet->source, &frag->vip))
		return return_failed(program, node, packet);
	return leave(skb, program, node, packet, frag->l3_ifindex, XLB_VERDICT_FRAGMENT_OUT);
}

/* An error by the backend (or by this node's kernel) about something that came in for the VIP. */
static __noinline int return_icmp_error(struct __sk_buff *skb, int program, const struct lb_node *node,
					const struct packet *packet, __u64 now)
{
	struct inner inner = {};
	struct lb_flow_key key;
	struct lb_flow *flow;
	__u32 where;

	if (packet->fragment != WHOLE || !read_inner(skb, packet, &inner))
		return TC_ACT_UNSPEC;
	key_from_backend(&key, &inner.destination, inner.destination_port, &inner.source, inner.source_port,
			 inner.protocol);
	flow = find_flow(&key, &where);
	if (!flow || not_here(program, flow->flags) || !flow_live(flow, inner.protocol, node, now))
		return TC_ACT_UNSPEC;
	if (translate_inner(skb, packet, &inner, DESTINATION_SIDE, &inner.destination, inner.destination_port,
			    &flow->vip, flow->vip_port, SOURCE_SIDE, same_address(&packet->source, &inner.destination)))
		return return_failed(program, node, packet);
	return leave(skb, program, node, packet, flow->l3_ifindex, XLB_VERDICT_ICMP_ERROR_OUT);
}

/* The backend of a guessed flow answered with RST: the client's next packet goes to the slot's other backend. */
static __noinline bool retry_second(struct lb_flow *flow, const struct lb_flow_key *forward_key,
				    const struct packet *packet, __u64 now)
{
	struct lb_backend *second;
	struct lb_flow_key reverse_key;
	struct lb_flow retry;

	if (!(flow->flags & XLB_FLOW_GUESSED) || (flow->flags & XLB_FLOW_ANSWERED) || flow->second_id == 0)
		return false;
	second = backend_by_id(flow->second_id);
	if (!second || !(second->flags & XLB_BACKEND_LIVE) || !(node_alive(second->node_id) || node_awaited(second->node_id)))
		return false;
	retry = *flow;
	retry.backend_id = flow->second_id;
	retry.generation = second->generation;
	retry.second_id = 0;
	retry.seen_mono_ns = now;
	retry.flags = XLB_FLOW_GUESSED | (flow->flags & XLB_FLOW_TENURE);
	if (second->node_id != 0) {
		bpf_map_update_elem(&xlb_half_open, forward_key, &retry, BPF_ANY);
		return true;
	}
	if (second->veth_ifindex == 0 || (second->flags & (XLB_BACKEND_HOST | XLB_BACKEND_KERNEL)))
		retry.flags |= XLB_FLOW_KERNEL;
	key_from_backend(&reverse_key, &second->address, second->port, &packet->destination, packet->destination_port,
			 packet->protocol);
	bpf_map_update_elem(&xlb_half_open, &reverse_key, &retry, BPF_ANY);
	bpf_map_update_elem(&xlb_half_open, forward_key, &retry, BPF_ANY);
	return true;
}

INLINE int return_flow(struct __sk_buff *skb, int program, const struct lb_node *node, const struct packet *packet,
		       __u64 now)
{
	bool tcp = packet->protocol == IPPROTO_TCP;
	struct lb_flow_key key, forward_key;
	struct lb_flow *flow;
	struct lb_addr vip;
	__be16 vip_port;
	__u32 where, l3_ifindex;
	int fate = FLOW_GOES_ON;

	key_from_backend(&key, &packet->source, packet->source_port, &packet->destination, packet->destination_port,
			 packet->protocol);
	flow = find_flow(&key, &where);
	if (!flow || not_here(program, flow->flags) || !flow_live(flow, packet->protocol, node, now))
		return TC_ACT_UNSPEC;
	vip = flow->vip;
	vip_port = flow->vip_port;
	l3_ifindex = flow->l3_ifindex;
	key_to_backend(&forward_key, &packet->destination, packet->destination_port, &vip, vip_port, packet->protocol);

	/* A SYN here, when ours has ended, belongs to a connection without the VIP that took the same port. */
	if (tcp && flow->state == XLB_FLOW_CLOSING && (packet->tcp_flags & TCP_SYN)) {
		delete_flow(&key, &forward_key, where);
		return TC_ACT_UNSPEC;
	}
	if (program == XLB_PROGRAM_RETURN && packet->length > ALWAYS_FITS && !fits(skb, l3_ifindex))
		return TC_ACT_UNSPEC; /* the kernel tells the pod, by ICMP */
	if (tcp && (packet->tcp_flags & TCP_RST) && retry_second(flow, &forward_key, packet, now)) {
		bpf_map_delete_elem(&xlb_half_open, &key);
		conclude(program, node, packet, NULL, XLB_VERDICT_RETRIED);
		return TC_ACT_SHOT;
	}

	if (flow->seen_mono_ns != now)
		flow->seen_mono_ns = now;
	if (!(flow->flags & XLB_FLOW_ANSWERED))
		flow->flags |= XLB_FLOW_ANSWERED;
	touch_other(flow, &forward_key, where, now);
	if (tcp)
		fate = follow_tcp(flow, &forward_key, packet, XLB_FLOW_BACKEND_FIN, true);
	count_out(flow->service_id, packet->length);
	if (packet->fragment == FIRST_FRAGMENT)
		xlb_remember_fragment(packet, XLB_FROM_BACKEND, flow, now, flow->flags & XLB_FLOW_KERNEL);
	if (fate == FLOW_ENDS) {
		delete_flow(&key, &forward_key, where);
	}
	if (xlb_translate(skb, packet, &vip, vip_port, SOURCE_SIDE))
		return return_failed(program, node, packet);
	return leave(skb, program, node, packet, l3_ifindex, XLB_VERDICT_RETURNED);
}

INLINE int give_back(struct __sk_buff *skb, int program)
{
	struct packet packet = {};
	struct lb_node *node = this_node();
	__u64 now = now_ns();

	if (!node || trial_over(node))
		return TC_ACT_UNSPEC;
	pull_headers(skb);
	if (!read_ethernet(skb, program, &packet))
		return TC_ACT_UNSPEC;
	if (program == XLB_PROGRAM_EGRESS && packet.ethertype == bpf_htons(ETH_P_ARP))
		return silence_arp(skb, node, &packet);
	if (!read_addresses(skb, program, &packet) || !read_rest(skb, program, &packet))
		return TC_ACT_UNSPEC;
	if (packet.protocol == IPPROTO_TCP || packet.protocol == IPPROTO_UDP) {
		if (packet.fragment == LATER_FRAGMENT)
			return return_fragment(skb, program, node, &packet, now);
		return return_flow(skb, program, node, &packet, now);
	}
	if (is_icmp(&packet) && packet.fragment == WHOLE && is_icmp_error(&packet))
		return return_icmp_error(skb, program, node, &packet, now);
	if (program == XLB_PROGRAM_EGRESS && packet.ipv6 && packet.protocol == IPPROTO_ICMPV6 &&
	    packet.fragment == WHOLE && packet.icmp_type == ND_ADVERTISEMENT)
		return silence_nd(skb, node, &packet);
	return TC_ACT_UNSPEC;
}

#endif /* XLB_BPF_RETURN_H */
