/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a translated packet goes: into the pod, up to this node's kernel, or back to the client. tc only. */
#ifndef XLB_BPF_FORWARD_H
#define XLB_BPF_FORWARD_H

#include "bpf/flow.h"
#include "bpf/packet.h"

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

/* Frames up to this size pass every MTU that IPv6 permits; no need to ask. */
#define ALWAYS_FITS (1280u + 14u)

INLINE bool fits(struct __sk_buff *skb, __u32 ifindex)
{
	__u32 mtu = 0;
	/* For a GSO packet it is its segments that must fit. */
	__u64 flags = CONTEXT_FIELD(skb, struct __sk_buff, gso_size) ? BPF_MTU_CHK_SEGS : 0;

	return bpf_check_mtu(skb, ifindex, &mtu, 0, flags) == 0;
}

/* Through the kernel: there is no veth, it has gone, or its MTU is too small (the kernel then says so). */
INLINE bool needs_kernel(struct __sk_buff *skb, const struct lb_backend *backend, __u8 flow_flags)
{
	if ((flow_flags & XLB_FLOW_KERNEL) || backend->veth_ifindex == 0)
		return true;
	return !fits(skb, backend->veth_ifindex);
}

INLINE int into_pod(struct __sk_buff *skb, const struct lb_backend *backend)
{
	/* A tag in the metadata would make the pod's stack look for a VLAN device. */
	if (frame_tag(skb, XLB_PROGRAM_LAN_TC) >= 0)
		bpf_skb_vlan_pop(skb);
	return (int)bpf_redirect_peer(backend->veth_ifindex, 0);
}

/* True: the routing table knows the way to the packet's sender; *ifindex says by which interface. */
INLINE bool route_to_sender(struct __sk_buff *skb, const struct packet *packet, __u32 *ifindex, __u32 flags)
{
	struct bpf_fib_lookup fib = {};
	long found;

	fib.ifindex = *ifindex;
	if (packet->ipv6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &packet->destination, 16);
		__builtin_memcpy(fib.ipv6_dst, &packet->source, 16);
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = packet->destination.word[3];
		fib.ipv4_dst = packet->source.word[3];
	}
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), flags);
	*ifindex = fib.ifindex;
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       found == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/*
 * The interface by which replies to this client leave: the link's own when a route leads through it, else whichever the
 * routing table names (bpf_redirect_neigh() is pinned to its interface and would ask there for an off-link client).
 */
__noinline __u32 xlb_reply_interface(struct __sk_buff *skb, const struct packet *packet, const struct lb_link *link)
{
	__u32 ifindex;

	if (!packet || !link)
		return 0;
	ifindex = link->l3_ifindex;

	/* IPv6 takes the interface as a wish and may answer with another one. */
	if (route_to_sender(skb, packet, &ifindex, BPF_FIB_LOOKUP_OUTPUT) && ifindex == link->l3_ifindex)
		return ifindex;
	ifindex = link->l3_ifindex;
	if (route_to_sender(skb, packet, &ifindex, 0))
		return ifindex;
	/* Forwarding may be switched off: the kernel then gives no answer, and replies do not need it. */
	return link->l3_ifindex;
}

INLINE int to_client(struct __sk_buff *skb, __u32 l3_ifindex)
{
	/* Above a VLAN device the tag would come twice. */
	if (frame_tag(skb, XLB_PROGRAM_LAN_TC) >= 0)
		bpf_skb_vlan_pop(skb);
	skb->tc_index = XLB_TC_INDEX_DONE;
	return (int)bpf_redirect_neigh(l3_ifindex, NULL, 0, 0);
}

#endif /* XLB_BPF_FORWARD_H */
