/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backends on other nodes (direct return): all nodes share the LAN, so a packet is handed over by changing only its MAC
 * addresses and its time to live. Nothing is translated, no byte is added, and the peer answers the client directly.
 *
 * What a peer hands over goes to a backend of this node or nowhere: never on again. So no packet can go round in a
 * circle, whatever two nodes think of each other; the time to live is the second lock on that door.
 */
#ifndef XLB_BPF_PEER_H
#define XLB_BPF_PEER_H

#include "bpf/checksum.h"
#include "bpf/packet.h"
#include "bpf/select.h"
#include "bpf/verdict.h"

INLINE void source_mac(void *ctx, int program, struct lb_mac_key *key)
{
	struct ethernet *eth = frame_at(ctx, program, 0, sizeof(*eth));

	__builtin_memset(key, 0, sizeof(*key));
	if (eth)
		copy_mac(key->mac, eth->source);
}

/* True: a peer has handed it over. A peer that sends from its own address is a client like any other. */
INLINE bool handed_over(void *ctx, int program, const struct packet *packet)
{
	struct lb_mac_key key;
	struct lb_peer *peer;
	__u32 *found;
	__u32 node_id;

	source_mac(ctx, program, &key);
	found = bpf_map_lookup_elem(&xlb_peer_macs, &key);
	if (!found)
		return false;
	node_id = *found;
	peer = bpf_map_lookup_elem(&xlb_peers, &node_id);
	return !peer ||
	       (!same_address(&peer->address4, &packet->source) && !same_address(&peer->address6, &packet->source));
}

/* The same in tc, as a global function (verdict.h says why). */
__noinline int xlb_handed_over(struct __sk_buff *skb, const struct packet *packet)
{
	return packet && handed_over(skb, XLB_PROGRAM_LAN_TC, packet);
}

/* IPv4's time to live, IPv6's hop limit. */
INLINE __u8 time_to_live(void *ctx, int program, const struct packet *packet)
{
	__u8 *at = frame_at(ctx, program, packet->l3 + (packet->ipv6 ? 7 : 8), 1);

	return at ? *at : 0;
}

/* One less; it was not 0. Payload and transport checksum may be whatever they are: partial, or of many segments. */
INLINE long spend_time_to_live(void *ctx, int program, const struct packet *packet)
{
	struct iphdr *ip;
	__be16 before, after[2]; /* TTL and protocol; header checksum */

	if (packet->ipv6) {
		__u8 hops = time_to_live(ctx, program, packet) - 1;

		return frame_write(ctx, program, packet->l3 + 7, &hops, 1);
	}
	ip = frame_at(ctx, program, packet->l3, sizeof(*ip));
	if (!ip)
		return -1;
	before = bpf_htons((__u16)(ip->ttl << 8 | ip->protocol));
	after[0] = bpf_htons((__u16)((ip->ttl - 1) << 8 | ip->protocol));
	after[1] = checksum_after(ip->check, sum_change16(before, after[0]));
	return frame_write(ctx, program, packet->l3 + 8, after, 4);
}

/* What is left to do once nothing can stop the packet any more. */
INLINE long readdress(void *ctx, int program, const struct packet *packet, const __u8 *to, const __u8 *from)
{
	struct {
		__u16 to[3];
		__u16 from[3];
	} macs;

	copy_mac(macs.to, to);
	copy_mac(macs.from, from);
	if (spend_time_to_live(ctx, program, packet))
		return -1;
	return frame_write(ctx, program, 0, &macs, sizeof(macs));
}

INLINE bool behind_link(const struct lb_peer *peer, const struct packet *packet)
{
	return peer->attach_ifindex == packet->ifindex && peer->vlan == packet->vlan;
}

/* The frame takes the VLAN tag of another link. */
INLINE long retag(struct __sk_buff *skb, const struct packet *packet, __u16 vlan)
{
	if (packet->vlan == vlan)
		return 0;
	if (frame_tag(skb, XLB_PROGRAM_LAN_TC) >= 0 && bpf_skb_vlan_pop(skb))
		return -1;
	return vlan ? bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), vlan) : 0;
}

/*
 * tc: hands the packet over to the backend's node, which lives. The action. A global function (verdict.h says why).
 */
__noinline int xlb_hand_over(struct __sk_buff *skb, const struct packet *packet, const struct lb_node *node,
			     const struct lb_backend *backend, const struct lb_link *link)
{
	const int program = XLB_PROGRAM_LAN_TC;
	struct lb_link_key link_key = {};
	__u32 verdict = XLB_VERDICT_ERROR;
	struct lb_peer *peer;
	__u32 node_id;

	if (!packet || !node || !backend || !link)
		return TC_ACT_SHOT;
	node_id = backend->node_id;
	peer = bpf_map_lookup_elem(&xlb_peers, &node_id);
	if (!peer)
		goto out;
	if (!behind_link(peer, packet)) {
		link_key.ifindex = peer->attach_ifindex;
		link_key.vlan = peer->vlan;
		link = bpf_map_lookup_elem(&xlb_links, &link_key);
		if (!link)
			goto out;
	}
	if (time_to_live(skb, program, packet) <= 1) {
		verdict = XLB_VERDICT_TTL_OVER;
		goto out;
	}
	if (readdress(skb, program, packet, peer->mac, link->mac) || retag(skb, packet, peer->vlan))
		goto out;
	verdict = XLB_VERDICT_TO_PEER;
out:
	conclude(program, node, packet, backend, verdict);
	if (verdict != XLB_VERDICT_TO_PEER || !peer)
		return TC_ACT_SHOT;
	skb->tc_index = XLB_TC_INDEX_DONE;
	return (int)bpf_redirect(peer->attach_ifindex, 0);
}

#endif /* XLB_BPF_PEER_H */
