/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Client to backend: what comes in for a VIP on a LAN link. The XDP program ends here only what needs no translation;
 * everything else is its tc twin's, and XDP has touched nothing of it, no counter, no flow.
 */
#ifndef XLB_BPF_STEER_H
#define XLB_BPF_STEER_H

#include "bpf/flow.h"
#include "bpf/forward.h"
#include "bpf/icmp.h"
#include "bpf/nat.h"
#include "bpf/packet.h"
#include "bpf/peer.h"
#include "bpf/reject.h"
#include "bpf/select.h"
#include "bpf/verdict.h"

/* What the lookups found for one packet. */
struct lan {
	const struct lb_node *node;
	const struct lb_link *link;
	const struct lb_vip *vip;
	bool handed_over; /* by a peer; asked for only where it matters */
};

/* What a peer handed over has the peer's MAC as its source: the refusal is for the client. */
INLINE __u32 way_of_refusal(struct __sk_buff *skb, const struct lan *lan, const struct packet *packet)
{
	return lan->handed_over ? xlb_reply_interface(skb, packet, lan->link) : 0;
}

/* Not handled: to kube-proxy where the VIP says so, else refused or dropped as the VIP says. */
INLINE int unhandled(void *ctx, int program, const struct lan *lan, const struct packet *packet, __u32 refusal,
		     __u32 drop_verdict)
{
	if (lan->vip->flags & XLB_VIP_FALL_BACK) {
		if (!is_xdp(program))
			conclude(program, lan->node, packet, NULL, XLB_VERDICT_FALL_BACK);
		return pass_on(program);
	}
	if (lan->vip->flags & XLB_VIP_DROP) {
		conclude(program, lan->node, packet, NULL, drop_verdict);
		return drop(program);
	}
	if (is_xdp(program)) /* a refusal is written by the twin */
		return pass_on(program);
	return xlb_refuse(ctx, lan->node, packet, refusal, way_of_refusal(ctx, lan, packet));
}

/* Dropped whatever the VIP says, unless something behind us may understand it. */
INLINE int dropped(void *ctx, int program, const struct lan *lan, const struct packet *packet, __u32 verdict)
{
	if (lan->vip->flags & XLB_VIP_FALL_BACK)
		return unhandled(ctx, program, lan, packet, verdict, verdict);
	conclude(program, lan->node, packet, NULL, verdict);
	return drop(program);
}

/* Hands a translated packet to its backend on this node. */
INLINE int deliver(struct __sk_buff *skb, const struct lan *lan, const struct packet *packet,
		   const struct lb_backend *backend, bool through_kernel, __u32 verdict)
{
	if (verdict == XLB_VERDICT_TO_POD && through_kernel)
		verdict = backend->flags & XLB_BACKEND_HOST ? XLB_VERDICT_TO_HOST : XLB_VERDICT_TO_KERNEL;
	conclude(XLB_PROGRAM_LAN_TC, lan->node, packet, backend, verdict);
	return through_kernel ? TC_ACT_UNSPEC : into_pod(skb, backend);
}

INLINE int failed(const struct lan *lan, const struct packet *packet)
{
	conclude(XLB_PROGRAM_LAN_TC, lan->node, packet, NULL, XLB_VERDICT_ERROR);
	return TC_ACT_SHOT;
}

INLINE void fragment_key(struct lb_frag_key *key, const struct packet *packet, __u8 direction)
{
	key->source = packet->source;
	key->destination = packet->destination;
	key->id = packet->fragment_id;
	key->protocol = packet->protocol;
	key->direction = direction;
	key->pad = 0;
}

/* All pieces take the way of the first: netfilter puts those together that pass it, and waits for ever for the others.
 */
__noinline int xlb_remember_fragment(const struct packet *packet, __u8 direction, const struct lb_flow *flow, __u64 now,
				     bool through_kernel)
{
	struct lb_frag_key key;
	struct lb_frag value = {};

	if (!packet || !flow)
		return 0;
	fragment_key(&key, packet, direction);
	value.vip = flow->vip;
	value.seen_mono_ns = now;
	value.backend_id = flow->backend_id;
	value.generation = flow->generation;
	value.service_id = flow->service_id;
	value.l3_ifindex = flow->l3_ifindex;
	value.flags = through_kernel ? XLB_FLOW_KERNEL : 0;
	return (int)bpf_map_update_elem(&xlb_frags, &key, &value, BPF_ANY);
}

INLINE struct lb_frag *known_fragment(const struct packet *packet, __u8 direction, __u64 now)
{
	struct lb_frag_key key;
	struct lb_frag *frag;

	fragment_key(&key, packet, direction);
	frag = bpf_map_lookup_elem(&xlb_frags, &key);
	if (!frag || !within(now, frag->seen_mono_ns, XLB_FRAGMENT_NS))
		return NULL;
	return frag;
}

/* False: the backend's node is dead, or it is a peer that would be the packet's third node. */
INLINE bool may_go_to(struct __sk_buff *skb, struct lan *lan, const struct packet *packet,
		      const struct lb_backend *backend)
{
	if (backend->node_id == 0)
		return true;
	lan->handed_over = xlb_handed_over(skb, packet);
	return !lan->handed_over && node_alive(backend->node_id);
}

static __noinline int steer_fragment(struct __sk_buff *skb, struct lan *lan, const struct packet *packet, __u64 now)
{
	struct lb_frag *frag = known_fragment(packet, XLB_TO_BACKEND, now);
	struct lb_backend *backend;
	bool through_kernel;

	if (!frag)
		return dropped(skb, XLB_PROGRAM_LAN_TC, lan, packet, XLB_VERDICT_FRAGMENT_UNKNOWN);
	backend = backend_of(frag->backend_id, frag->generation);
	if (!backend || !may_go_to(skb, lan, packet, backend))
		return dropped(skb, XLB_PROGRAM_LAN_TC, lan, packet, XLB_VERDICT_FRAGMENT_UNKNOWN);
	count_in(frag->service_id, packet->length);
	if (backend->node_id)
		return xlb_hand_over(skb, packet, lan->node, backend, lan->link);
	through_kernel = needs_kernel(skb, backend, frag->flags);
	if (replace_fragment_address(skb, packet, DESTINATION_SIDE, &packet->destination, &backend->address))
		return failed(lan, packet);
	return deliver(skb, lan, packet, backend, through_kernel, XLB_VERDICT_FRAGMENT_IN);
}

INLINE struct lb_service *find_service(const struct lb_vip *vip, __be16 port, __u8 protocol)
{
	struct lb_service_key key = {.vip_id = vip->vip_id, .port = port, .protocol = protocol};

	return bpf_map_lookup_elem(&xlb_services, &key);
}

/* With policy Local, and for what a peer has handed over, only backends of this node will do. */
INLINE bool here_only(struct __sk_buff *skb, struct lan *lan, const struct packet *packet,
		      const struct lb_service *service)
{
	lan->handed_over = xlb_handed_over(skb, packet);
	return lan->handed_over || (service->flags & XLB_SERVICE_LOCAL);
}

/* An error about something that we sent for the VIP; the packet inside went from VIP to client. */
static __noinline int steer_icmp_error(struct __sk_buff *skb, struct lan *lan, const struct packet *packet)
{
	struct inner inner = {};
	struct lb_flow_key key;
	struct lb_flow *flow;
	struct lb_backend *backend = NULL;
	struct choice choice;
	__u8 flow_flags = 0;
	__u32 where;
	bool through_kernel;

	if (packet->fragment != WHOLE || !read_inner(skb, packet, &inner) ||
	    !same_address(&inner.source, &packet->destination))
		return dropped(skb, XLB_PROGRAM_LAN_TC, lan, packet, XLB_VERDICT_ICMP_UNKNOWN);
	key_to_backend(&key, &inner.destination, inner.destination_port, &inner.source, inner.source_port,
		       inner.protocol);
	flow = find_flow(&key, &where);
	if (flow) {
		backend = backend_of(flow->backend_id, flow->generation);
		flow_flags = flow->flags;
		if (backend && !may_go_to(skb, lan, packet, backend)) {
			backend = NULL;
			flow = NULL;
			flow_flags = 0;
		}
	}
	if (!flow) {
		/* Somebody else may have owned the VIP when the flow began: the slot names the same backend. */
		struct lb_service *service = find_service(lan->vip, inner.source_port, inner.protocol);

		if (lan->vip->flags & XLB_VIP_CONTINUES) { /* or it is about a connection of kube-proxy's */
			conclude(XLB_PROGRAM_LAN_TC, lan->node, packet, NULL, XLB_VERDICT_FALL_BACK);
			return TC_ACT_UNSPEC;
		}
		if (service) {
			choose_by_slot(service, hash_client(service, &inner.destination, inner.destination_port),
				       here_only(skb, lan, packet, service), &choice);
			backend = choice.backend;
			if (backend && (backend->flags & (XLB_BACKEND_HOST | XLB_BACKEND_KERNEL)))
				flow_flags = XLB_FLOW_KERNEL;
		}
	}
	if (!backend)
		return dropped(skb, XLB_PROGRAM_LAN_TC, lan, packet, XLB_VERDICT_ICMP_UNKNOWN);
	if (backend->node_id)
		return xlb_hand_over(skb, packet, lan->node, backend, lan->link);
	through_kernel = needs_kernel(skb, backend, flow_flags);
	if (translate_inner(skb, packet, &inner, SOURCE_SIDE, &inner.source, inner.source_port, &backend->address,
			    backend->port, DESTINATION_SIDE, true))
		return failed(lan, packet);
	return deliver(skb, lan, packet, backend, through_kernel, XLB_VERDICT_ICMP_ERROR_IN);
}

INLINE int steer_icmp(void *ctx, int program, struct lan *lan, const struct packet *packet)
{
	if (packet->fragment == LATER_FRAGMENT || is_echo_request(packet)) {
		if (!(lan->vip->flags & XLB_VIP_PING) || lan->vip->healthy == 0)
			return dropped(ctx, program, lan, packet, XLB_VERDICT_PING_UNANSWERED);
		if (turn_echo(ctx, program, packet)) {
			conclude(program, lan->node, packet, NULL, XLB_VERDICT_ERROR);
			return drop(program);
		}
		conclude(program, lan->node, packet, NULL, XLB_VERDICT_PING_REPLY);
		return send_back(ctx, program);
	}
	if (!is_icmp_error(packet))
		return dropped(ctx, program, lan, packet, XLB_VERDICT_ICMP_UNKNOWN);
	if (is_xdp(program))
		return pass_on(program);
	return steer_icmp_error(ctx, lan, packet);
}

/* Functions of their own, for the stack's sake. */
static __noinline int steer_icmp_xdp(struct xdp_md *xdp, struct lan *lan, const struct packet *packet)
{
	return steer_icmp(xdp, XLB_PROGRAM_LAN_XDP, lan, packet);
}

static __noinline int steer_icmp_tc(struct __sk_buff *skb, struct lan *lan, const struct packet *packet)
{
	return steer_icmp(skb, XLB_PROGRAM_LAN_TC, lan, packet);
}

/* TCP, and not its first packet. */
INLINE bool in_the_middle(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

/*
 * In the middle of a connection that nobody here has seen begin, to a VIP that kube-proxy served until now: it was opened there
 * and ends there. On a peer, too, which may have got the rows of the VIP a moment later than the node that hands over to it.
 */
INLINE bool continues_there(const struct lb_vip *vip, const struct packet *packet)
{
	return (vip->flags & XLB_VIP_CONTINUES) && in_the_middle(packet);
}

/* What xlb_begin_flow() may answer besides a backend's id. */
#define BEGIN_DENIED (-1)
#define BEGIN_NO_BACKEND (-2)
#define BEGIN_CLASH (-3)
#define BEGIN_AWAITED (-4)

/* Both directions of one flow. */
struct flow_keys {
	struct lb_flow_key forward;
	struct lb_flow_key reverse;
	__u32 stale;     /* an ended flow of `forward` is still in xlb_flows */
	__u32 here_only; /* only a backend of this node will do */
	__u32 tenure;    /* its XLB_FLOW_TENURE */
};

/* By its backend alone: through the kernel both ways. */
INLINE __u8 path_of(const struct lb_backend *backend)
{
	if (backend->node_id == 0 &&
	    (backend->veth_ifindex == 0 || (backend->flags & (XLB_BACKEND_HOST | XLB_BACKEND_KERNEL))))
		return XLB_FLOW_KERNEL;
	return 0;
}

/*
 * Makes the flow's entries; `reverse` is NULL when its answers do not come by here. A function of its own, for the
 * stack's sake.
 */
static __noinline void enter_flow(const struct lb_flow_key *forward, const struct lb_flow_key *reverse,
				  const struct packet *packet, const struct lb_service *service,
				  const struct choice *choice)
{
	struct lb_flow flow = {};

	flow.vip = packet->destination;
	flow.vip_port = packet->destination_port;
	flow.seen_mono_ns = now_ns();
	flow.touched_mono_ns = flow.seen_mono_ns;
	flow.backend_id = choice->backend_id;
	flow.generation = choice->backend->generation;
	flow.service_id = service->service_id;
	flow.l3_ifindex = choice->l3_ifindex;
	flow.state = XLB_FLOW_HALF_OPEN;
	flow.flags = path_of(choice->backend) | (__u8)choice->tenure;
	if (packet->protocol == IPPROTO_TCP && !(packet->tcp_flags & TCP_SYN)) {
		flow.flags |= XLB_FLOW_GUESSED;
		flow.second_id = choice->second_id;
	}
	if (reverse)
		bpf_map_update_elem(&xlb_half_open, reverse, &flow, BPF_ANY);
	bpf_map_update_elem(&xlb_half_open, forward, &flow, BPF_ANY);
}

/*
 * Would the flow clash with another one at its backend? Where a former entry of the reverse key stands. A backend on a
 * peer is asked by the peer.
 */
INLINE __u32 find_clash(const struct lb_node *node, const struct packet *packet, const struct lb_backend *backend,
			struct flow_keys *keys, __u64 now)
{
	if (backend->node_id)
		return IN_NONE;
	key_from_backend(&keys->reverse, &backend->address, backend->port, &packet->source, packet->source_port,
			 packet->protocol);
	return xlb_clashes(&keys->reverse, packet, node, now);
}

/*
 * Chooses a backend for a first packet (or for one in the middle of a connection that this node has not seen), and
 * makes the flow's entries. Given is all of *keys but keys->reverse. The backend's id, or why there is none.
 */
__noinline int xlb_begin_flow(const struct lb_node *node, const struct packet *packet, const struct lb_service *service,
			      struct flow_keys *keys, __u32 l3_ifindex)
{
	struct choice choice = {.l3_ifindex = l3_ifindex};
	__u64 now = now_ns();
	__u64 by_slot;
	bool here_only;
	__u32 where, hash;

	if (!node || !packet || !service || !keys)
		return BEGIN_NO_BACKEND;
	here_only = keys->here_only != 0;
	choice.tenure = keys->tenure;
	if (!source_allowed(service, &packet->source))
		return BEGIN_DENIED;
	hash = hash_client(service, &packet->source, packet->source_port);
	if (!here_only && in_the_middle(packet) && xlb_slot_awaits(service, hash))
		return BEGIN_AWAITED;
	choice.backend_id = xlb_remembered(service, &packet->source, now, here_only);
	choice.backend = backend_by_id(choice.backend_id);
	if (!choice.backend)
		choose_by_slot(service, hash, here_only, &choice);
	if (!choice.backend)
		return BEGIN_NO_BACKEND;
	where = find_clash(node, packet, choice.backend, keys, now);
	if (where & CLASH) {
		if (!choice.second_id) { /* remembered by affinity: the slot knows another one */
			by_slot = xlb_slot_backends(service, hash, here_only);
			choice.second_id = (__u32)by_slot != choice.backend_id ? (__u32)by_slot : (__u32)(by_slot >> 32);
		}
		choice.backend_id = choice.second_id;
		choice.backend = backend_by_id(choice.backend_id);
		choice.second_id = 0;
		if (!suits(choice.backend, here_only))
			return BEGIN_CLASH;
		where = find_clash(node, packet, choice.backend, keys, now);
		if (where & CLASH)
			return BEGIN_CLASH;
	}
	xlb_remember(service, &packet->source, now, choice.backend_id, choice.backend->generation);
	/* What is left of an earlier life of this client port must not be found first. */
	if (keys->stale)
		bpf_map_delete_elem(&xlb_flows, &keys->forward);
	if (where == IN_FLOWS)
		bpf_map_delete_elem(&xlb_flows, &keys->reverse);
	enter_flow(&keys->forward, choice.backend->node_id ? NULL : &keys->reverse, packet, service, &choice);
	return (int)choice.backend_id;
}

INLINE int awaited(const struct lan *lan, const struct packet *packet)
{
	conclude(XLB_PROGRAM_LAN_TC, lan->node, packet, NULL, XLB_VERDICT_AWAITED);
	return TC_ACT_SHOT;
}

/* xlb_steer_flow() leaves refusals to its caller, for the stack's sake: one of these, with the verdict in the low bits. */
#define ASK_REFUSE 0x10000
#define ASK_UNHANDLED 0x20000
#define ASK_HANDED_OVER 0x40000 /* beside one of them */
#define ASK_CONTINUES 0x80000 /* this one alone: nothing is refused, the connection is kube-proxy's */
#define ASK_VERDICT 0xffff

/* TCP and UDP in tc: flow, service, backend, translation, delivery. The tc action, or what is asked for. */
INLINE int steer_flow(struct __sk_buff *skb, struct lan *lan, const struct packet *packet, __u64 now)
{
	const int program = XLB_PROGRAM_LAN_TC;
	bool tcp = packet->protocol == IPPROTO_TCP;
	bool first = tcp && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	struct flow_keys keys;
	struct lb_flow *flow;
	struct lb_backend *backend = NULL;
	struct lb_service *service;
	__u32 where, service_id;
	int fate = FLOW_GOES_ON;
	bool through_kernel, known = false;
	__u8 flow_flags;
	int begun;

	key_to_backend(&keys.forward, &packet->source, packet->source_port, &packet->destination,
		       packet->destination_port, packet->protocol);
	flow = find_flow(&keys.forward, &where);
	keys.stale = where == IN_FLOWS ? 1 : 0;
	if (flow && flow_counts(flow, packet->protocol, first, lan->vip, lan->node, now)) {
		backend = backend_of(flow->backend_id, flow->generation);
	} else if (continues_there(lan->vip, packet)) { /* an earlier life of the client's port is no flow, either */
		return ASK_CONTINUES;
	}
	if (!backend || backend->node_id)
		lan->handed_over = xlb_handed_over(skb, packet);
	if (backend && backend->node_id && (lan->handed_over || !node_alive(backend->node_id))) {
		if (!lan->handed_over && (tcp ? !first : where == IN_FLOWS) && node_awaited(backend->node_id))
			return awaited(lan, packet);
		backend = NULL;
	}

	if (backend && backend->node_id) {
		count_in(flow->service_id, packet->length);
		if (packet->fragment == FIRST_FRAGMENT)
			xlb_remember_fragment(packet, XLB_TO_BACKEND, flow, now, false);
		xlb_follow_remote(&keys.forward, flow, packet, where, now);
		return xlb_hand_over(skb, packet, lan->node, backend, lan->link);
	}
	if (backend) {
		if (flow->seen_mono_ns != now)
			flow->seen_mono_ns = now;
		key_from_backend(&keys.reverse, &backend->address, backend->port, &packet->source, packet->source_port,
				 packet->protocol);
		if (where == IN_HALF_OPEN && !first && !(packet->tcp_flags & TCP_RST) &&
		    promote(&keys.forward, flow, &keys.reverse)) {
			flow = bpf_map_lookup_elem(&xlb_flows, &keys.forward);
			where = IN_FLOWS;
			if (!flow)
				return failed(lan, packet);
		}
		touch_other(flow, &keys.reverse, where, now);
		if (tcp)
			fate = follow_tcp(flow, &keys.reverse, packet, XLB_FLOW_CLIENT_FIN, false);
		service_id = flow->service_id;
		flow_flags = flow->flags;
	} else {
		service = find_service(lan->vip, packet->destination_port, packet->protocol);
		/* Somebody has seen it begin; it never falls back, because nobody else knows its connection. */
		known = !first && (where != IN_NONE || lan->handed_over);
		if (!service && known)
			return ASK_REFUSE | XLB_VERDICT_NO_BACKEND;
		if (!service)
			return ASK_UNHANDLED | (tcp ? XLB_VERDICT_REJECTED_TCP : XLB_VERDICT_REJECTED_UDP);
		__builtin_memset(&keys.reverse, 0, sizeof(keys.reverse));
		keys.here_only = lan->handed_over || (service->flags & XLB_SERVICE_LOCAL);
		keys.tenure = tenure_of(lan->vip);
		begun = xlb_begin_flow(lan->node, packet, service, &keys, xlb_reply_interface(skb, packet, lan->link));
		if (begun == BEGIN_DENIED) {
			conclude(program, lan->node, packet, NULL, XLB_VERDICT_DENIED);
			report(program, packet, XLB_VERDICT_DENIED, XLB_EVENT_REFUSED);
			return TC_ACT_SHOT;
		}
		if (begun == BEGIN_AWAITED)
			return awaited(lan, packet);
		if (begun == BEGIN_CLASH)
			return ASK_REFUSE | XLB_VERDICT_FLOW_CLASH;
		if (begun == BEGIN_NO_BACKEND) {
			report(program, packet, XLB_VERDICT_NO_BACKEND, XLB_EVENT_REFUSED);
			return (known ? ASK_REFUSE : ASK_UNHANDLED) |
			       (lan->handed_over ? XLB_VERDICT_NO_LOCAL_BACKEND : XLB_VERDICT_NO_BACKEND);
		}
		backend = backend_by_id((__u32)begun);
		if (!backend)
			return failed(lan, packet);
		service_id = service->service_id;
		flow_flags = path_of(backend);
		flow = packet->fragment == FIRST_FRAGMENT ? bpf_map_lookup_elem(&xlb_half_open, &keys.forward) : NULL;
		count_flow(service_id);
	}

	count_in(service_id, packet->length);
	through_kernel = backend->node_id == 0 && needs_kernel(skb, backend, flow_flags);
	if (packet->fragment == FIRST_FRAGMENT)
		xlb_remember_fragment(packet, XLB_TO_BACKEND, flow, now, through_kernel);
	if (backend->node_id)
		return xlb_hand_over(skb, packet, lan->node, backend, lan->link);
	if (fate == FLOW_ENDS) {
		delete_flow(&keys.forward, &keys.reverse, where);
	} else if (fate == FLOW_RESET) {
		demote(&keys.forward);
		demote(&keys.reverse);
	}
	if (xlb_translate(skb, packet, &backend->address, backend->port, DESTINATION_SIDE))
		return failed(lan, packet);
	return deliver(skb, lan, packet, backend, through_kernel, XLB_VERDICT_TO_POD);
}

/* As a global function: half of what the verifier has to look at, and it begins with one state (verdict.h). */
__noinline int xlb_steer_flow(struct __sk_buff *skb, const struct packet *packet, const struct lb_node *node,
			      const struct lb_link *link, const struct lb_vip *vip)
{
	struct lan lan = {node, link, vip, false};
	int result;

	if (!packet || !node || !link || !vip)
		return TC_ACT_SHOT;
	result = steer_flow(skb, &lan, packet, now_ns());
	return result >= ASK_REFUSE && lan.handed_over ? result | ASK_HANDED_OVER : result;
}

/*
 * A flow whose backend is on a peer ends in XDP, its entry included, once nothing can stop the packet any more. What is
 * anything but plain is the twin's: fragments, affinity, a former life of the client's port, a packet of a peer.
 */
static __noinline int hand_over_early(struct xdp_md *xdp, const struct lan *lan, const struct packet *packet,
				      const struct lb_service *service, __u64 now)
{
	const int program = XLB_PROGRAM_LAN_XDP;
	bool first = packet->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	struct choice choice = {.tenure = tenure_of(lan->vip)};
	struct lb_flow *flow;
	struct lb_flow_key key;
	struct lb_peer *peer;
	__u32 where, node_id, hash;

	if (packet->fragment != WHOLE)
		return XDP_PASS;
	key_to_backend(&key, &packet->source, packet->source_port, &packet->destination, packet->destination_port,
		       packet->protocol);
	flow = find_flow(&key, &where);
	if (flow && flow_counts(flow, packet->protocol, first, lan->vip, lan->node, now))
		choice.backend = backend_of(flow->backend_id, flow->generation);
	if (!choice.backend) {
		if (where == IN_FLOWS || continues_there(lan->vip, packet) || (service->flags & (XLB_SERVICE_AFFINITY | XLB_SERVICE_LOCAL)))
			return XDP_PASS;
		hash = hash_client(service, &packet->source, packet->source_port);
		if (in_the_middle(packet) && xlb_slot_awaits(service, hash))
			return XDP_PASS;
		choose_by_slot(service, hash, false, &choice);
		flow = NULL;
	}
	if (!choice.backend || choice.backend->node_id == 0)
		return XDP_PASS;
	node_id = choice.backend->node_id;
	peer = bpf_map_lookup_elem(&xlb_peers, &node_id);
	if (!peer || !(peer->flags & XLB_PEER_ALIVE) || !behind_link(peer, packet) ||
	    time_to_live(xdp, program, packet) <= 1 || handed_over(xdp, program, packet))
		return XDP_PASS;

	if (readdress(xdp, program, packet, peer->mac, lan->link->mac)) {
		conclude(program, lan->node, packet, choice.backend, XLB_VERDICT_ERROR);
		return XDP_DROP;
	}
	if (flow) {
		xlb_follow_remote(&key, flow, packet, where, now);
	} else {
		enter_flow(&key, NULL, packet, service, &choice);
		count_flow(service->service_id);
	}
	count_in(service->service_id, packet->length);
	conclude(program, lan->node, packet, choice.backend, XLB_VERDICT_TO_PEER);
	return XDP_TX;
}

/* TCP and UDP in XDP: ends only what is dropped without state, or handed over. */
INLINE int screen_flow(struct xdp_md *xdp, const struct lan *lan, const struct packet *packet, __u64 now)
{
	struct lb_service *service;
	struct lb_flow_key key;
	__u32 where;

	service = find_service(lan->vip, packet->destination_port, packet->protocol);
	if (service && (service->flags & XLB_SERVICE_TWIN))
		return XDP_PASS;
	if (service && source_allowed(service, &packet->source))
		return lan->link->flags & XLB_LINK_XDP_SENDS ? hand_over_early(xdp, lan, packet, service, now) : XDP_PASS;
	/* A flow outlives its service's rules, and the service itself. */
	key_to_backend(&key, &packet->source, packet->source_port, &packet->destination, packet->destination_port,
		       packet->protocol);
	if (find_flow(&key, &where))
		return XDP_PASS;
	if (!service)
		return unhandled(xdp, XLB_PROGRAM_LAN_XDP, lan, packet, 0, XLB_VERDICT_UNKNOWN_PORT);
	conclude(XLB_PROGRAM_LAN_XDP, lan->node, packet, NULL, XLB_VERDICT_DENIED);
	report(XLB_PROGRAM_LAN_XDP, packet, XLB_VERDICT_DENIED, XLB_EVENT_REFUSED);
	return XDP_DROP;
}

/*
 * A clash with no other backend to go to. The other connection is over in a moment, mostly: two short ones of a client that
 * happened to take the same port. So the first SYN vanishes and leaves a mark; the one that the client sends again (RFC
 * 6298: after a second) finds it. False: it is refused, and that is reported.
 */
__noinline int xlb_clash_waits(const struct packet *packet)
{
	struct lb_flow_key key;
	struct lb_flow *mark;
	struct lb_flow waits = {};
	__u64 now = now_ns();

	if (!packet)
		return false;
	key_to_backend(&key, &packet->source, packet->source_port, &packet->destination, packet->destination_port,
		       packet->protocol);
	mark = bpf_map_lookup_elem(&xlb_half_open, &key);
	if (packet->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
	    !(mark && mark->state == XLB_FLOW_ENDED && mark->backend_id == 0 &&
	      within(now, mark->seen_mono_ns, XLB_CLASH_NS))) {
		waits.seen_mono_ns = now;
		return bpf_map_update_elem(&xlb_half_open, &key, &waits, BPF_ANY) == 0;
	}
	report(XLB_PROGRAM_LAN_TC, packet, XLB_VERDICT_FLOW_CLASH, XLB_EVENT_REFUSED);
	return false;
}

/* Everything that is addressed to a VIP and to this node's MAC. */
INLINE int steer(void *ctx, int program, struct lan *lan, struct packet *packet)
{
	__u32 refusal;
	int result;

	if (!read_rest(ctx, program, packet) || impossible_source(packet) ||
	    same_address(&packet->source, &packet->destination))
		return dropped(ctx, program, lan, packet, XLB_VERDICT_MALFORMED);
	if (is_icmp(packet))
		return is_xdp(program) ? steer_icmp_xdp(ctx, lan, packet) : steer_icmp_tc(ctx, lan, packet);
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP) {
		if (packet->fragment == LATER_FRAGMENT)
			return dropped(ctx, program, lan, packet, XLB_VERDICT_FRAGMENT_UNKNOWN);
		return unhandled(ctx, program, lan, packet, XLB_VERDICT_UNKNOWN_PROTOCOL, XLB_VERDICT_UNKNOWN_PROTOCOL);
	}
	if (is_xdp(program))
		return packet->fragment == LATER_FRAGMENT ? XDP_PASS : screen_flow(ctx, lan, packet, now_ns());
	if (packet->fragment == LATER_FRAGMENT)
		return steer_fragment(ctx, lan, packet, now_ns());
	result = xlb_steer_flow(ctx, packet, lan->node, lan->link, lan->vip);
	if (result < ASK_REFUSE)
		return result;
	if (result & ASK_CONTINUES) {
		conclude(program, lan->node, packet, NULL, XLB_VERDICT_FALL_BACK);
		return TC_ACT_UNSPEC;
	}
	refusal = (__u32)result & ASK_VERDICT;
	lan->handed_over = (result & ASK_HANDED_OVER) != 0;
	if (refusal == XLB_VERDICT_FLOW_CLASH && xlb_clash_waits(packet)) {
		conclude(program, lan->node, packet, NULL, XLB_VERDICT_CLASH_WAITS);
		return TC_ACT_SHOT;
	}
	if (result & ASK_UNHANDLED)
		return unhandled(ctx, program, lan, packet, refusal,
				 refusal == XLB_VERDICT_NO_BACKEND || refusal == XLB_VERDICT_NO_LOCAL_BACKEND
				     ? refusal
				     : XLB_VERDICT_UNKNOWN_PORT);
	return xlb_refuse(ctx, lan->node, packet, refusal, way_of_refusal(ctx, lan, packet));
}

#endif /* XLB_BPF_STEER_H */
