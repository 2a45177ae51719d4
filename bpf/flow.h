/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table as a state machine. Every flow has two entries, one for each direction, in the same table:
 *
 *   xlb_half_open                          xlb_flows
 *   SYN, or first UDP datagram ──────► HALF_OPEN ── the backend answered and the client goes on ──► ESTABLISHED
 *            ▲                                                                                both FINs │  │ RST
 *            │                                    10 s, or the last ACK: deleted ◄── CLOSING ◄────────────┘  │ from the
 *            └── CLOSING, for 10 s; lives on when the client speaks again ◄──────────────────────────────────┘ client
 *
 * A flood of first packets can only evict other half-open flows. What has ended is deleted with its last ACK (or with
 * the backend's RST), so that xlb_flows holds connections that live, not the history of short ones. A forward hit keeps
 * the reverse entry alive once a second and recreates it when it was evicted, and the other way round.
 */
#ifndef XLB_BPF_FLOW_H
#define XLB_BPF_FLOW_H

#include "bpf/packet.h"
#include "bpf/verdict.h"

/* Where an entry was found. */
#define IN_NONE 0u
#define IN_FLOWS 1u
#define IN_HALF_OPEN 2u

INLINE struct lb_flow *find_flow(const struct lb_flow_key *key, __u32 *where)
{
	struct lb_flow *flow = bpf_map_lookup_elem(&xlb_flows, key);

	*where = IN_FLOWS;
	if (flow)
		return flow;
	flow = bpf_map_lookup_elem(&xlb_half_open, key);
	if (flow && flow->state == XLB_FLOW_ENDED)
		flow = NULL;
	*where = flow ? IN_HALF_OPEN : IN_NONE;
	return flow;
}

INLINE bool flow_live(const struct lb_flow *flow, __u8 protocol, const struct lb_node *node, __u64 now)
{
	__u64 limit = node->tcp_idle_ns;

	if (flow->state == XLB_FLOW_HALF_OPEN)
		limit = XLB_HALF_OPEN_NS;
	else if (flow->state == XLB_FLOW_CLOSING)
		limit = XLB_CLOSING_NS;
	else if (protocol != IPPROTO_TCP)
		limit = XLB_UDP_NS;
	return within(now, flow->seen_mono_ns, limit);
}

INLINE __u8 tenure_of(const struct lb_vip *vip)
{
	return (__u8)(vip->claim_epoch << XLB_FLOW_TENURE_SHIFT);
}

/*
 * Does the forward entry tell where the packet belongs? What has ended, or has hardly begun, says nothing once the VIP was
 * another node's meanwhile: the same client port may be another connection by now.
 */
INLINE bool flow_counts(struct lb_flow *flow, __u8 protocol, bool first, const struct lb_vip *vip,
			const struct lb_node *node, __u64 now)
{
	if (!flow_live(flow, protocol, node, now) || (first && flow->state == XLB_FLOW_CLOSING))
		return false;
	if (((flow->flags ^ tenure_of(vip)) & XLB_FLOW_TENURE) == 0)
		return true;
	if (flow->state != XLB_FLOW_ESTABLISHED)
		return false;
	flow->flags = (flow->flags & (__u8)~XLB_FLOW_TENURE) | tenure_of(vip);
	return true;
}

INLINE struct lb_backend *backend_by_id(__u32 id)
{
	return id ? bpf_map_lookup_elem(&xlb_backends, &id) : NULL;
}

/* The flow's backend while it is still the same endpoint and alive; NULL otherwise. */
INLINE struct lb_backend *backend_of(__u32 id, __u32 generation)
{
	struct lb_backend *backend = backend_by_id(id);

	if (!backend || !(backend->flags & XLB_BACKEND_LIVE) || backend->generation != generation)
		return NULL;
	return backend;
}

INLINE void key_to_backend(struct lb_flow_key *key, const struct lb_addr *client, __be16 client_port,
			   const struct lb_addr *vip, __be16 vip_port, __u8 protocol)
{
	key->source = *client;
	key->destination = *vip;
	key->source_port = client_port;
	key->destination_port = vip_port;
	key->protocol = protocol;
	key->direction = XLB_TO_BACKEND;
	key->pad = 0;
}

INLINE void key_from_backend(struct lb_flow_key *key, const struct lb_addr *backend, __be16 backend_port,
			     const struct lb_addr *client, __be16 client_port, __u8 protocol)
{
	key->source = *backend;
	key->destination = *client;
	key->source_port = backend_port;
	key->destination_port = client_port;
	key->protocol = protocol;
	key->direction = XLB_FROM_BACKEND;
	key->pad = 0;
}

/* Both directions, from the table in which one of them was found. */
INLINE void delete_flow(const struct lb_flow_key *key, const struct lb_flow_key *other_key, __u32 where)
{
	if (where == IN_FLOWS) {
		bpf_map_delete_elem(&xlb_flows, key);
		bpf_map_delete_elem(&xlb_flows, other_key);
	} else {
		bpf_map_delete_elem(&xlb_half_open, key);
		bpf_map_delete_elem(&xlb_half_open, other_key);
	}
}

static __noinline void refresh_other(const struct lb_flow *flow, const struct lb_flow_key *other_key, __u32 where,
				     __u64 now)
{
	__u32 other_where;
	struct lb_flow *other = find_flow(other_key, &other_where);
	struct lb_flow copy;

	if (other) {
		if (other->backend_id == flow->backend_id && other->generation == flow->generation)
			other->seen_mono_ns = now;
		return;
	}
	copy = *flow;
	copy.touched_mono_ns = now;
	if (where == IN_FLOWS)
		bpf_map_update_elem(&xlb_flows, other_key, &copy, BPF_NOEXIST);
	else
		bpf_map_update_elem(&xlb_half_open, other_key, &copy, BPF_NOEXIST);
}

/* Once a second: the other direction's entry is refreshed, or made again from this one when it was evicted. */
INLINE void touch_other(struct lb_flow *flow, const struct lb_flow_key *other_key, __u32 where, __u64 now)
{
	if (within(now, flow->touched_mono_ns, XLB_TOUCH_NS))
		return;
	flow->touched_mono_ns = now;
	refresh_other(flow, other_key, where, now);
}

/* A flag that both directions must know. */
static __noinline void flag_other(const struct lb_flow_key *other_key, __u8 flags, __u8 state)
{
	__u32 where;
	struct lb_flow *other = find_flow(other_key, &where);

	if (other) {
		other->flags |= flags;
		if (state)
			other->state = state;
	}
}

/* From half-open to established, both directions. False: the backend has not answered yet. */
static __noinline bool promote(const struct lb_flow_key *key, struct lb_flow *flow,
			       const struct lb_flow_key *reverse_key)
{
	struct lb_flow *reverse = bpf_map_lookup_elem(&xlb_half_open, reverse_key);
	struct lb_flow copy;

	if (!reverse || !(reverse->flags & XLB_FLOW_ANSWERED))
		return false;
	copy = *reverse;
	copy.state = XLB_FLOW_ESTABLISHED;
	copy.flags &= (__u8)~XLB_FLOW_GUESSED;
	bpf_map_update_elem(&xlb_flows, reverse_key, &copy, BPF_ANY);
	copy = *flow;
	copy.state = XLB_FLOW_ESTABLISHED;
	copy.flags |= XLB_FLOW_ANSWERED;
	copy.flags &= (__u8)~XLB_FLOW_GUESSED;
	bpf_map_update_elem(&xlb_flows, key, &copy, BPF_ANY);
	/* Not deleted but marked as dead, which costs no lookup; the LRU list takes them when it needs room. */
	reverse->state = XLB_FLOW_ENDED;
	flow->state = XLB_FLOW_ENDED;
	return true;
}

/* Anybody may forge a client's RST: the flow waits in the small table until it has timed out, or speaks again. */
static __noinline void demote(const struct lb_flow_key *key)
{
	struct lb_flow *flow = bpf_map_lookup_elem(&xlb_flows, key);
	struct lb_flow copy;

	if (!flow) {
		flow = bpf_map_lookup_elem(&xlb_half_open, key);
		if (flow)
			flow->state = XLB_FLOW_CLOSING;
		return;
	}
	copy = *flow;
	copy.state = XLB_FLOW_CLOSING;
	bpf_map_update_elem(&xlb_half_open, key, &copy, BPF_ANY);
	bpf_map_delete_elem(&xlb_flows, key);
}

/*
 * A flow whose backend is on a peer has this one entry: its answers do not come by here. It is kept so that a change of
 * slots moves no living flow. With the client's FIN it leaves xlb_flows; the half that still flows is refreshed by it.
 */
__noinline int xlb_follow_remote(const struct lb_flow_key *key, struct lb_flow *flow, const struct packet *packet,
				 __u32 where, __u64 now)
{
	struct lb_flow copy;
	bool tcp;

	if (!key || !flow || !packet)
		return 0;
	tcp = packet->protocol == IPPROTO_TCP;
	if (flow->seen_mono_ns != now)
		flow->seen_mono_ns = now;
	if (tcp && (packet->tcp_flags & (TCP_FIN | TCP_RST))) {
		if (packet->tcp_flags & TCP_FIN)
			flow->flags |= XLB_FLOW_CLIENT_FIN;
		if (flow->state != XLB_FLOW_CLOSING)
			demote(key);
		return 0;
	}
	if (where == IN_FLOWS || (flow->flags & XLB_FLOW_CLIENT_FIN) || (tcp && (packet->tcp_flags & TCP_SYN)))
		return 0;
	/* A TCP client that goes on was answered. So was, most likely, one that sends datagrams for a second. */
	if (!tcp && within(now, flow->touched_mono_ns, XLB_TOUCH_NS))
		return 0;
	copy = *flow;
	copy.state = XLB_FLOW_ESTABLISHED;
	copy.flags &= (__u8)~XLB_FLOW_GUESSED;
	bpf_map_update_elem(&xlb_flows, key, &copy, BPF_ANY);
	flow->state = XLB_FLOW_ENDED;
	return 0;
}

/* What becomes of the flow once the packet is translated: the caller does it last, `flow` may be gone afterwards. */
#define FLOW_GOES_ON 0
#define FLOW_ENDS 1  /* delete both entries */
#define FLOW_RESET 2 /* demote both entries */

/*
 * TCP's part in the state, for a packet of one direction. `own_fin` is the flag of this direction's FIN.
 */
INLINE int follow_tcp(struct lb_flow *flow, const struct lb_flow_key *other_key, const struct packet *packet,
		      __u8 own_fin, bool from_backend)
{
	const __u8 both = XLB_FLOW_CLIENT_FIN | XLB_FLOW_BACKEND_FIN;

	if (packet->tcp_flags & TCP_RST)
		return from_backend ? FLOW_ENDS : FLOW_RESET;
	if (packet->tcp_flags & TCP_FIN) {
		if (!(flow->flags & own_fin)) {
			flow->flags |= own_fin;
			if ((flow->flags & both) == both)
				flow->state = XLB_FLOW_CLOSING;
			flag_other(other_key, own_fin, (flow->flags & both) == both ? XLB_FLOW_CLOSING : 0);
		}
		return FLOW_GOES_ON;
	}
	if (flow->state == XLB_FLOW_CLOSING) {
		if ((flow->flags & both) == both)
			return packet->payload == 0 ? FLOW_ENDS : FLOW_GOES_ON;
		flow->state = XLB_FLOW_ESTABLISHED;
		flag_other(other_key, 0, XLB_FLOW_ESTABLISHED);
	}
	return FLOW_GOES_ON;
}

#endif /* XLB_BPF_FLOW_H */
