/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The contract between the programs in the kernel and everything above them.
 *
 * Compiled by clang for BPF and by the C++ compiler; nothing mirrors it by hand. Rules:
 *  - padding is explicit and asserted, no enum, bool or bitfield in a key or value;
 *  - __be16/__be32 hold network byte order, everything else is in the machine's own order;
 *  - times are nanoseconds; `_boot_ns` is CLOCK_BOOTTIME, `_mono_ns` is CLOCK_MONOTONIC (the programs read its coarse form);
 *  - a changed struct, limit or flag bumps XLB_ABI_VERSION: the pins live in a folder named after it.
 */
#ifndef XLB_MAPS_ABI_H
#define XLB_MAPS_ABI_H

#include <linux/types.h>

#ifdef __cplusplus
#define XLB_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type " changed: bump XLB_ABI_VERSION")
#else
#define XLB_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed: bump XLB_ABI_VERSION")
#endif

#define XLB_ABI_VERSION 6u

/* ---- limits: both sides use them -------------------------------------------------------------------------------- */

#define XLB_MAX_LINKS 1024u     /* rows of xlb_links: LAN links, their VLANs, veths of backends */
#define XLB_MAX_VIPS 4096u      /* rows of xlb_vips */
#define XLB_MAX_PEERS 64u       /* node ids 0..63; id 0 is this node */
#define XLB_MAX_PEER_MACS 256u  /* rows of xlb_peer_macs: a peer has one MAC for each of its links */
#define XLB_ECHOES 32u          /* echoes of one peer that are remembered: a power of two, the low bits of their nonces */
#define XLB_DEFAULT_SERVICES 4096u   /* rows of xlb_services; the loader may ask for more before load */
#define XLB_DEFAULT_BACKENDS 16384u  /* rows of xlb_backends; id 0 means "none" */
#define XLB_DEFAULT_SLOTS 1048576u   /* entries of xlb_slots */
#define XLB_DEFAULT_SOURCES 65536u   /* entries of xlb_sources */
#define XLB_DEFAULT_FLOWS 262144u    /* entries of xlb_flows (two a connection); the loader sizes it by the machine */
#define XLB_HALF_OPEN_FLOWS 65536u   /* entries of xlb_half_open (two a connection) */
#define XLB_FRAGMENTS 16384u         /* entries of xlb_frags: small LRU tables evict early, hence not less */
#define XLB_AFFINITIES 65536u        /* entries of xlb_affinity */
#define XLB_LOCAL_FLOWS 65536u       /* entries of xlb_local: sockets on this node that talk to a VIP */
#define XLB_EVENT_RING_BYTES 262144u /* a power of two and a multiple of every page size in use (16 KiB on a Pi 5) */

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* IPv6 in network order; IPv4 a.b.c.d is stored as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that one key serves both. */
struct lb_addr {
	__be32 word[4];
};
XLB_ASSERT_SIZE(struct lb_addr, 16);

/* ---- xlb_node ---------------------------------------------------------------------------------------------------- */

#define XLB_FOREVER 0xffffffffffffffffull

/* One entry, key 0. Written by the loader and the daemon, read by every program. */
struct lb_node {
	__u64 lease_boot_ns;      /* past it the programs stop answering ARP and ND; XLB_FOREVER without peers */
	__u64 try_mono_ns;        /* past it every program passes everything (`attach --try`); 0: no deadline */
	__u64 epoch;              /* a VIP is owned while lb_vip.owned_epoch equals this; starts at 1 */
	__u64 tcp_idle_ns;        /* lifetime of an idle established TCP flow */
	__u64 trace_until_mono_ns; /* `xdp-lb trace` is listening until then; 0: nobody listens */
	__u32 trace_every;        /* sample one packet of this many; 1: every packet */
	__u32 reject_per_second;  /* RST and ICMP unreachable sent per second and CPU; 0: none */
	__u32 abi_version;        /* XLB_ABI_VERSION of the loader that wrote this entry */
	__u32 pad;
};
XLB_ASSERT_SIZE(struct lb_node, 56);

/* ---- xlb_links --------------------------------------------------------------------------------------------------- */

/* lb_link.role */
#define XLB_LINK_LAN 1u     /* frames for VIPs come in here */
#define XLB_LINK_RETURN 2u  /* host side of a backend's veth: xlb_return sits here */

/* lb_link.flags */
#define XLB_LINK_MADE_CLSACT 0x1u /* the clsact qdisc is ours: detach takes it away when it is empty */
#define XLB_LINK_XDP_SENDS 0x2u   /* native XDP on a NIC: frames are whole and checksums complete, XDP may hand flows over */

struct lb_link_key {
	__u32 ifindex; /* attach interface */
	__u16 vlan;    /* VLAN id 1..4094 of the frame, 0: untagged */
	__u16 pad;
};
XLB_ASSERT_SIZE(struct lb_link_key, 8);

struct lb_link {
	__u32 l3_ifindex; /* replies leave by it: the attach interface or the VLAN device above it */
	__u32 role;
	__u32 flags;
	__u32 link_bit;   /* one bit, matched against lb_vip.link_mask; 0 for XLB_LINK_RETURN */
	__u8 mac[6];      /* the L3 interface's own MAC */
	__u8 pad[2];
};
XLB_ASSERT_SIZE(struct lb_link, 24);

/* ---- xlb_vips ---------------------------------------------------------------------------------------------------- */

/* lb_vip.flags */
#define XLB_VIP_PING 0x1u      /* answer ICMP echo while healthy is not 0 */
#define XLB_VIP_FALL_BACK 0x2u /* kube-proxy serves it behind us: what we do not handle passes to the kernel */
#define XLB_VIP_DROP 0x4u      /* unknown ports: drop silently instead of rejecting */
/* Taken over from another announcer that still runs on the nodes: it hears no question about the VIP, and what it says of it
 * does not leave. */
#define XLB_VIP_TAKEN_OVER 0x8u
/* Connections that are open already are kube-proxy's, which knows them: TCP in the middle of an unknown one passes to the kernel. */
#define XLB_VIP_CONTINUES 0x10u

struct lb_vip {
	__u64 owned_epoch; /* equals lb_node.epoch: this node answers ARP and ND; 0: it does not */
	__u64 claim_epoch; /* of the claim between nodes; kept here so that a restarted daemon adopts it */
	__u32 vip_id;      /* index of xlb_vip_stats, never 0 */
	__u32 flags;
	__u32 link_mask;   /* bits of the links it is announced on */
	__u32 healthy;     /* number of usable backends of all its services */
};
XLB_ASSERT_SIZE(struct lb_vip, 32);

/* ---- xlb_services, xlb_slots, xlb_backends ----------------------------------------------------------------------- */

struct lb_service_key {
	__u32 vip_id;
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};
XLB_ASSERT_SIZE(struct lb_service_key, 8);

/* lb_service.flags */
#define XLB_SERVICE_AFFINITY 0x1u  /* ClientIP: slot by client, remembered in xlb_affinity */
#define XLB_SERVICE_SOURCES 0x2u   /* ask xlb_sources; a family without a range there is denied */
#define XLB_SERVICE_TWIN 0x4u      /* XDP passes to the tc twin right after the service lookup */
#define XLB_SERVICE_LOCAL 0x8u     /* externalTrafficPolicy: Local */

struct lb_service {
	__u32 service_id; /* index of xlb_svc_stats, never 0 */
	__u32 flags;
	__u32 slot_base;  /* first index in xlb_slots */
	__u32 slot_count; /* a power of two; 0: no backend */
	__u32 affinity_s; /* ClientIP timeout in seconds */
	__u32 hash_seed;  /* from VIP, port and protocol, never from local ids: the same on every node */
	/* The same hash over this node's own backends only: for packets that a peer handed over, and for policy Local. Equal to
	 * slot_base and slot_count where every backend is here. */
	__u32 local_slot_base;
	__u32 local_slot_count; /* a power of two; 0: no backend here */
};
XLB_ASSERT_SIZE(struct lb_service, 32);

/* Backend ids; 0: none. The second is taken when the first is gone, its node is down, or a flow clashes. */
struct lb_slot {
	__u32 first;
	__u32 second;
};
XLB_ASSERT_SIZE(struct lb_slot, 8);

/* lb_backend.flags */
#define XLB_BACKEND_LIVE 0x1u        /* may be chosen and may keep its flows */
#define XLB_BACKEND_LOCAL 0x2u       /* on this node */
#define XLB_BACKEND_HOST 0x4u        /* a socket of the node itself: DNAT and pass up, xlb_egress translates back */
#define XLB_BACKEND_KERNEL 0x8u      /* kernel path: DNAT and pass up, netfilter sees it, xlb_egress translates back */
#define XLB_BACKEND_DRAINING 0x10u   /* keeps its flows, gets no new ones (LIVE stays set) */

struct lb_backend {
	struct lb_addr address;
	__u32 generation;   /* raised whenever the id is given to another endpoint; flows remember it */
	__u32 flags;
	__u32 veth_ifindex; /* host side of the pod's veth; 0: unknown, kernel path */
	__u32 node_id;      /* index of xlb_peers; 0: this node */
	__be16 port;
	__u8 protocol;
	__u8 pad;
	__u32 vip_id; /* one of those that it serves: when no slice lists it any more, its connections go on while this VIP is there */
};
XLB_ASSERT_SIZE(struct lb_backend, 40);

/* ---- xlb_peers, xlb_peer_macs: the other nodes; one row a node id --------------------------------------------------- */

/* lb_peer.flags */
#define XLB_PEER_ALIVE 0x1u   /* its echoes come home: flows may go to its backends. Cleared by one write when it dies */
#define XLB_PEER_AWAITED 0x2u /* not alive since a moment ago: connections to its backends wait, new ones go elsewhere */

struct lb_peer {
	struct lb_addr address4; /* the peer's own addresses: a client like any other when it sends from them; 0: none */
	struct lb_addr address6;
	__u32 flags;
	__u32 attach_ifindex; /* LAN link behind which it lives */
	__u16 vlan;           /* of that link; 0: untagged */
	__u8 mac[6];
};
XLB_ASSERT_SIZE(struct lb_peer, 48);

struct lb_mac_key {
	__u8 mac[6];
	__u16 pad;
};
XLB_ASSERT_SIZE(struct lb_mac_key, 8);

/* ---- what nodes say to each other ------------------------------------------------------------------------------------ */

/*
 * Frames of an EtherType for local experiments (IEEE 802, 88-B5): no router forwards them, no IP firewall sees them, no
 * socket of anybody else gets them. Echoes are sent back by the peer's program, statements are read by the peer's daemon.
 */
#define XLB_ETHERTYPE 0x88b5u
#define XLB_WIRE_MAGIC 0x786c6231u /* "xlb1" */
#define XLB_WIRE_VERSION 1u

/* lb_wire.kind */
#define XLB_WIRE_ECHO 1u      /* a question: sent back as XLB_WIRE_RETURN with the same nonce, to a known peer only */
#define XLB_WIRE_RETURN 2u    /* stamped in xlb_echoes and dropped; never sent back, hence no loop */
#define XLB_WIRE_STATEMENT 3u /* left to the daemon's packet socket */

/* lb_wire.flags of a return */
#define XLB_WIRE_STALE 0x1u /* the sender's lease is over: it forwards, but nobody minds it */

/* Directly behind the Ethernet header (and a VLAN tag). Echoes are padded with zeros to the shortest frame. */
struct lb_wire {
	__be32 magic;
	__u8 version;
	__u8 kind;
	__u8 flags;
	__u8 pad;
	__u64 nonce; /* opaque to the peer; low bits: index in xlb_echoes. Of a statement: 0 */
};
XLB_ASSERT_SIZE(struct lb_wire, 16);

/* xlb_echoes: row node_id * XLB_ECHOES + (nonce & (XLB_ECHOES - 1)). The daemon writes the nonce before it sends. */
struct lb_echo {
	__u64 nonce;            /* 0: none under way; taken back by the program, so that each counts once */
	__u64 returned_mono_ns; /* CLOCK_MONOTONIC, fine; 0: not yet */
	__u32 flags;            /* lb_wire.flags of the return */
	__u32 pad;
};
XLB_ASSERT_SIZE(struct lb_echo, 24);

/* ---- xlb_flows, xlb_half_open ------------------------------------------------------------------------------------ */

/* lb_flow_key.direction */
#define XLB_TO_BACKEND 0u   /* source: client, destination: VIP */
#define XLB_FROM_BACKEND 1u /* source: backend, destination: client */

struct lb_flow_key {
	struct lb_addr source;
	struct lb_addr destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};
XLB_ASSERT_SIZE(struct lb_flow_key, 40);

/* lb_flow.state */
/* Left behind in xlb_half_open by a flow that went to xlb_flows: as good as absent. Without a backend: a clash that waits. */
#define XLB_FLOW_ENDED 0u
#define XLB_FLOW_HALF_OPEN 1u   /* SYN seen, or UDP without an answer: lives in xlb_half_open */
#define XLB_FLOW_ESTABLISHED 2u
#define XLB_FLOW_CLOSING 3u     /* both FINs, or a RST */

/* lb_flow.flags */
#define XLB_FLOW_CLIENT_FIN 0x1u
#define XLB_FLOW_BACKEND_FIN 0x2u
#define XLB_FLOW_ANSWERED 0x4u  /* the backend has sent something */
#define XLB_FLOW_KERNEL 0x8u    /* takes the kernel path both ways */
#define XLB_FLOW_GUESSED 0x10u  /* began in the middle of a connection: a RST from its backend means "try the second" */
/*
 * In which of the node's tenures of the VIP the client was last heard: lb_vip.claim_epoch modulo 8. Between two of them its
 * port may have ended this connection and begun another one, which this node has not seen.
 */
#define XLB_FLOW_TENURE 0xe0u
#define XLB_FLOW_TENURE_SHIFT 5

struct lb_flow {
	struct lb_addr vip;   /* what the client talks to */
	__u64 seen_mono_ns;   /* last packet of this direction (or of the other, once a second) */
	__u64 touched_mono_ns; /* when this direction last refreshed the other one's entry */
	__u32 backend_id;
	__u32 generation;     /* of the backend when the flow began */
	__u32 service_id;
	__u32 l3_ifindex;     /* replies leave by it */
	__be16 vip_port;
	__u8 state;
	__u8 flags;
	__u32 second_id;      /* XLB_FLOW_GUESSED: the slot's other backend; 0: none */
};
XLB_ASSERT_SIZE(struct lb_flow, 56);

#define XLB_SECOND_NS 1000000000ull
#define XLB_HALF_OPEN_NS (60 * XLB_SECOND_NS)
#define XLB_CLOSING_NS (10 * XLB_SECOND_NS)
#define XLB_CLASH_NS (10 * XLB_SECOND_NS) /* a SYN that comes again by then is refused if it still clashes */
#define XLB_UDP_NS (120 * XLB_SECOND_NS)
#define XLB_TCP_IDLE_DEFAULT_NS (7200 * XLB_SECOND_NS)
#define XLB_FRAGMENT_NS (30 * XLB_SECOND_NS)
#define XLB_TOUCH_NS XLB_SECOND_NS
#define XLB_REJECT_PER_SECOND_DEFAULT 1000u

/* ---- xlb_frags --------------------------------------------------------------------------------------------------- */

struct lb_frag_key {
	struct lb_addr source;
	struct lb_addr destination;
	__be32 id; /* IPv4: the 16 bits of Identification; IPv6: the 32 bits of the fragment header */
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};
XLB_ASSERT_SIZE(struct lb_frag_key, 40);

struct lb_frag {
	struct lb_addr vip;
	__u64 seen_mono_ns;
	__u32 backend_id;
	__u32 generation;
	__u32 service_id;
	__u32 l3_ifindex;
	__u8 flags; /* XLB_FLOW_KERNEL */
	__u8 pad[7];
};
XLB_ASSERT_SIZE(struct lb_frag, 48);

/* ---- xlb_affinity ------------------------------------------------------------------------------------------------ */

struct lb_affinity_key {
	struct lb_addr client;
	__u32 service_id;
	__u32 pad;
};
XLB_ASSERT_SIZE(struct lb_affinity_key, 24);

struct lb_affinity {
	__u64 seen_mono_ns;
	__u32 backend_id;
	__u32 generation;
};
XLB_ASSERT_SIZE(struct lb_affinity, 16);

/* ---- xlb_sources: longest prefix match --------------------------------------------------------------------------- */

struct lb_source_key {
	__u32 prefix_len; /* 32 bits of service id + bits of the address; IPv4 prefixes count from 96 */
	__be32 service_id; /* network order, so that its bits come first in the prefix */
	struct lb_addr prefix;
};
XLB_ASSERT_SIZE(struct lb_source_key, 24);

/* Its family, because ::/0 and its like contain the mapped IPv4 addresses: a match of the other family allows nothing. */
struct lb_source {
	__u32 family; /* 4 or 6 */
};
XLB_ASSERT_SIZE(struct lb_source, 4);

/* ---- xlb_local: sockets of this node and its pods that talk to a VIP ---------------------------------------------- */

struct lb_local_key {
	__u64 cookie;         /* bpf_get_socket_cookie() */
	struct lb_addr backend;
	__be16 backend_port;
	__u8 protocol;
	__u8 pad[5];
};
XLB_ASSERT_SIZE(struct lb_local_key, 32);

struct lb_local {
	struct lb_addr vip;
	__be16 vip_port;
	__u8 pad[6];
};
XLB_ASSERT_SIZE(struct lb_local, 24);

/* ---- xlb_counters, xlb_svc_stats, xlb_vip_stats (per CPU) --------------------------------------------------------- */

/* VERDICT(name, outcome, text): see verdicts.def */
#define VERDICT(name, outcome, text) XLB_VERDICT_##name,
enum xlb_verdict {
#include "maps/verdicts.def"
	XLB_VERDICT_COUNT
};
#undef VERDICT

struct lb_counter {
	__u64 packets;
	__u64 bytes; /* of the frame without preamble and FCS; a GSO packet counts its whole length once */
};
XLB_ASSERT_SIZE(struct lb_counter, 16);

struct lb_svc_stats {
	__u64 packets_in;
	__u64 bytes_in;
	__u64 packets_out;
	__u64 bytes_out;
	__u64 flows; /* new flows */
};
XLB_ASSERT_SIZE(struct lb_svc_stats, 40);

struct lb_vip_stats {
	__u64 answers; /* to ARP requests and neighbour solicitations */
};
XLB_ASSERT_SIZE(struct lb_vip_stats, 8);

/* xlb_budget index */
#define XLB_BUDGET_REJECT 0u /* lb_node.reject_per_second */
#define XLB_BUDGET_EVENT 1u  /* XLB_EVENTS_PER_SECOND: conflicts and refusals; traces are sampled instead */
#define XLB_BUDGETS 2u
#define XLB_EVENTS_PER_SECOND 20u

/* What a CPU may still do in this second. */
struct lb_budget {
	__u64 refilled_mono_ns;
	__u64 tokens;
};
XLB_ASSERT_SIZE(struct lb_budget, 16);

/* ---- xlb_events -------------------------------------------------------------------------------------------------- */

/* lb_event.kind */
#define XLB_EVENT_TRACE 1u    /* a sampled packet */
#define XLB_EVENT_CONFLICT 2u /* somebody else's ARP or NA claims a VIP that this node owns; `mac` says whose */
#define XLB_EVENT_REFUSED 3u  /* flow_clash, denied or no backend: a first packet that was refused */

struct lb_event {
	__u64 mono_ns; /* CLOCK_MONOTONIC */
	struct lb_addr source;
	struct lb_addr destination;
	struct lb_addr backend;
	__u32 kind;
	__u32 verdict;
	__u32 ifindex;
	__u32 length;
	__be16 source_port;
	__be16 destination_port;
	__be16 backend_port;
	__u16 vlan;
	__u8 protocol;
	__u8 program; /* XLB_PROGRAM_… */
	__u8 mac[6];  /* source MAC */
};
XLB_ASSERT_SIZE(struct lb_event, 88);

#define XLB_PROGRAM_LAN_XDP 1u
#define XLB_PROGRAM_LAN_TC 2u
#define XLB_PROGRAM_RETURN 3u
#define XLB_PROGRAM_EGRESS 4u
#define XLB_PROGRAM_SOCKET 5u

/* SO_MARK of the frames that the daemon sends: by it xlb_egress tells its announcements from those of others. */
#define XLB_MARK_OWN 0x1b1b0001u

/* Mark left in skb->tc_index by xlb_return so that xlb_egress lets its own work pass. */
#define XLB_TC_INDEX_DONE 0x1b1b

#endif /* XLB_MAPS_ABI_H */
