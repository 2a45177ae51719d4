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

INLINE bool node_alive(__u32 node_id)
{
	struct lb_peer *peer;

	if (node_id == 0)
		return true;
	peer = bpf_map_lookup_elem(&xlb_peers, &node_id);
	return peer && (peer->flags & XLB_PEER_ALIVE);
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
};

/* The slot's backends as ids, best first: the one to take in the low half, the other in the high half; 0: none. */
__noinline __u64 xlb_slot_backends(const struct lb_service *service, __u32 hash)
{
	struct lb_slot *slot;
	__u32 index;

	if (!service || service->slot_count == 0)
		return 0;
	index = service->slot_base + (hash & (service->slot_count - 1));
	slot = bpf_map_lookup_elem(&xlb_slots, &index);
	if (!slot)
		return 0;
	if (usable(backend_by_id(slot->first)))
		return (__u64)slot->second << 32 | slot->first;
	return usable(backend_by_id(slot->second)) ? slot->second : 0;
}

/* An empty choice when neither of the slot's backends can be used. */
INLINE void choose_by_slot(const struct lb_service *service, __u32 hash, struct choice *choice)
{
	__u64 ids = xlb_slot_backends(service, hash);

	choice->backend_id = (__u32)ids;
	choice->second_id = (__u32)(ids >> 32);
	choice->backend = backend_by_id(choice->backend_id);
}

INLINE bool source_allowed(const struct lb_service *service, const struct lb_addr *client)
{
	struct lb_source_key key;
	struct lb_source *source;

	if (!(service->flags & XLB_SERVICE_SOURCES))
		return true;
	key.prefix_len = 32 + 128;
	key.service_id = bpf_htonl(service->service_id);
	key.prefix = *client;
	source = bpf_map_lookup_elem(&xlb_sources, &key);
	return source && source->family == (is_mapped(client) ? 4 : 6);
}

/* The remembered backend of a client, while it is remembered; refreshed by each new flow. */
INLINE bool choose_by_affinity(const struct lb_service *service, const struct lb_addr *client, __u64 now,
			       struct choice *choice)
{
	struct lb_affinity_key key = {.client = *client, .service_id = service->service_id};
	struct lb_affinity *affinity;
	struct lb_backend *backend;

	if (!(service->flags & XLB_SERVICE_AFFINITY))
		return false;
	affinity = bpf_map_lookup_elem(&xlb_affinity, &key);
	if (!affinity || !within(now, affinity->seen_mono_ns, service->affinity_s * XLB_SECOND_NS))
		return false;
	backend = backend_of(affinity->backend_id, affinity->generation);
	if (!usable(backend))
		return false;
	affinity->seen_mono_ns = now;
	choice->backend = backend;
	choice->backend_id = affinity->backend_id;
	choice->second_id = 0;
	return true;
}

INLINE void remember_affinity(const struct lb_service *service, const struct lb_addr *client, __u64 now,
			      const struct choice *choice)
{
	struct lb_affinity_key key = {.client = *client, .service_id = service->service_id};
	struct lb_affinity value = {.seen_mono_ns = now, .backend_id = choice->backend_id};

	if (!(service->flags & XLB_SERVICE_AFFINITY) || !choice->backend)
		return;
	value.generation = choice->backend->generation;
	bpf_map_update_elem(&xlb_affinity, &key, &value, BPF_ANY);
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
