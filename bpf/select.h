/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which backend gets a packet: the flow's, else the client's (affinity), else the one in the slot of its hash.
 * Slots list a first and a second backend; the second is taken when the first cannot be.
 */
#ifndef XLB_BPF_SELECT_H
#define XLB_BPF_SELECT_H

#include "bpf/flow.h"
#include "bpf/packet.h"
#include "bpf/verdict.h"

/* A multiply-xorshift round; constants are odd with about half of their bits set. The same on every architecture. */
INLINE __u32 mix(__u32 hash, __u32 word)
{
	hash ^= word;
	hash *= 0x9e3779b1u;
	hash ^= hash >> 15;
	return hash;
}

INLINE __u32 mix_address(__u32 hash, const struct lb_addr *address)
{
	hash = mix(hash, bpf_ntohl(address->word[0]));
	hash = mix(hash, bpf_ntohl(address->word[1]));
	hash = mix(hash, bpf_ntohl(address->word[2]));
	return mix(hash, bpf_ntohl(address->word[3]));
}

INLINE __u32 finish_hash(__u32 hash)
{
	hash *= 0x85ebca77u;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae3du;
	return hash ^ (hash >> 16);
}

/* VIP, its port and the protocol are in the seed. With affinity only the client counts. */
INLINE __u32 hash_client(const struct lb_service *service, const struct lb_addr *client, __be16 client_port)
{
	__u32 hash = mix_address(service->hash_seed, client);

	if (!(service->flags & XLB_SERVICE_AFFINITY))
		hash = mix(hash, bpf_ntohs(client_port));
	return finish_hash(hash);
}

/* This node itself, or a peer whose echoes come home. A dead node is one write: the slots need not change. */
INLINE bool node_alive(__u32 node_id)
{
	struct lb_peer *peer;

	if (node_id == 0)
		return true;
	peer = bpf_map_lookup_elem(&xlb_peers, &node_id);
	return peer && (peer->flags & XLB_PEER_ALIVE);
}

/* A peer that was lost a moment ago: it may be back before its connections have noticed. */
INLINE bool node_awaited(__u32 node_id)
{
	struct lb_peer *peer = bpf_map_lookup_elem(&xlb_peers, &node_id);

	return peer && (peer->flags & (XLB_PEER_ALIVE | XLB_PEER_AWAITED)) == XLB_PEER_AWAITED;
}

/* May be given new flows. */
INLINE bool usable(const struct lb_backend *backend)
{
	return backend && (backend->flags & (XLB_BACKEND_LIVE | XLB_BACKEND_DRAINING)) == XLB_BACKEND_LIVE &&
	       node_alive(backend->node_id);
}

struct choice {
	struct lb_backend *backend;
	__u32 backend_id;
	__u32 second_id; /* the slot's other one, 0: none */
	__u32 l3_ifindex; /* replies leave by it */
	__u32 tenure;     /* XLB_FLOW_TENURE of what begins now */
};

/* `here_only`: for what a peer has handed over, and with policy Local. A slot may lag behind its backends' rows. */
INLINE bool suits(const struct lb_backend *backend, bool here_only)
{
	return usable(backend) && (!here_only || backend->node_id == 0);
}

/* The slot's backends as ids, best first: the one to take in the low half, the other in the high half; 0: none. */
__noinline __u64 xlb_slot_backends(const struct lb_service *service, __u32 hash, bool here_only)
{
	struct lb_slot *slot;
	__u32 base, count;

	if (!service)
		return 0;
	base = here_only ? service->local_slot_base : service->slot_base;
	count = here_only ? service->local_slot_count : service->slot_count;
	if (count == 0)
		return 0;
	base += hash & (count - 1);
	slot = bpf_map_lookup_elem(&xlb_slots, &base);
	if (!slot)
		return 0;
	if (suits(backend_by_id(slot->first), here_only))
		return (__u64)slot->second << 32 | slot->first;
	return suits(backend_by_id(slot->second), here_only) ? slot->second : 0;
}

/*
 * In the middle of a connection that this node has not seen, whose backend is by its slot on a peer that is awaited. The
 * slot's other backend would end it by a RST.
 */
__noinline int xlb_slot_awaits(const struct lb_service *service, __u32 hash)
{
	struct lb_slot *slot;
	struct lb_backend *backend;
	__u32 at;

	if (!service || service->slot_count == 0)
		return false;
	at = service->slot_base + (hash & (service->slot_count - 1));
	slot = bpf_map_lookup_elem(&xlb_slots, &at);
	if (!slot)
		return false;
	backend = backend_by_id(slot->first);
	return backend && (backend->flags & XLB_BACKEND_LIVE) && backend->node_id && node_awaited(backend->node_id);
}

/* An empty choice when neither of the slot's backends can be used. */
INLINE void choose_by_slot(const struct lb_service *service, __u32 hash, bool here_only, struct choice *choice)
{
	__u64 ids = xlb_slot_backends(service, hash, here_only);

	choice->backend_id = (__u32)ids;
	choice->second_id = (__u32)(ids >> 32);
	choice->backend = backend_by_id(choice->backend_id);
}

__noinline int xlb_in_sources(const struct lb_service *service, const struct lb_addr *client)
{
	struct lb_source_key key;
	struct lb_source *source;

	if (!service || !client)
		return false;
	key.prefix_len = 32 + 128;
	key.service_id = bpf_htonl(service->service_id);
	key.prefix = *client;
	source = bpf_map_lookup_elem(&xlb_sources, &key);
	return source && source->family == (is_mapped(client) ? 4 : 6);
}

INLINE bool source_allowed(const struct lb_service *service, const struct lb_addr *client)
{
	return !(service->flags & XLB_SERVICE_SOURCES) || xlb_in_sources(service, client);
}

/* The remembered backend of a client, while it is remembered; refreshed by each new flow. Its id; 0: none. */
__noinline __u32 xlb_remembered(const struct lb_service *service, const struct lb_addr *client, __u64 now,
				bool here_only)
{
	struct lb_affinity_key key = {};
	struct lb_affinity *affinity;

	if (!service || !client || !(service->flags & XLB_SERVICE_AFFINITY))
		return 0;
	key.client = *client;
	key.service_id = service->service_id;
	affinity = bpf_map_lookup_elem(&xlb_affinity, &key);
	if (!affinity || !within(now, affinity->seen_mono_ns, service->affinity_s * XLB_SECOND_NS))
		return 0;
	if (!suits(backend_of(affinity->backend_id, affinity->generation), here_only))
		return 0;
	affinity->seen_mono_ns = now;
	return affinity->backend_id;
}

__noinline int xlb_remember(const struct lb_service *service, const struct lb_addr *client, __u64 now,
			    __u32 backend_id, __u32 generation)
{
	struct lb_affinity_key key = {};
	struct lb_affinity value = {};

	if (!service || !client || !(service->flags & XLB_SERVICE_AFFINITY))
		return 0;
	key.client = *client;
	key.service_id = service->service_id;
	value.seen_mono_ns = now;
	value.backend_id = backend_id;
	value.generation = generation;
	return (int)bpf_map_update_elem(&xlb_affinity, &key, &value, BPF_ANY);
}

#define CLASH 0x100u

/*
 * The same client port to the same backend through another VIP (or another port of it): the backend could not tell the
 * two apart, and the answers of one would go out under the other's address. Where an entry of that key was found
 * (IN_…), with CLASH when it is such a flow and lives.
 */
__noinline __u32 xlb_clashes(const struct lb_flow_key *reverse_key, const struct packet *packet,
			     const struct lb_node *node, __u64 now)
{
	struct lb_flow *other;
	__u32 where;

	if (!reverse_key || !packet || !node)
		return IN_NONE;
	other = find_flow(reverse_key, &where);
	if (!other || other->state == XLB_FLOW_CLOSING || !flow_live(other, packet->protocol, node, now))
		return where;
	if (same_address(&other->vip, &packet->destination) && other->vip_port == packet->destination_port)
		return where;
	return backend_of(other->backend_id, other->generation) ? where | CLASH : where;
}

#endif /* XLB_BPF_SELECT_H */
