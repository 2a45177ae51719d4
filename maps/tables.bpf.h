/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The tables, included by bpf/ only. Sizes marked "runtime" are set by the loader before load.
 * Map names are at most 15 characters, so that the kernel and bpftool show them whole.
 */
#ifndef XLB_MAPS_TABLES_BPF_H
#define XLB_MAPS_TABLES_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "maps/abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_node);
} xlb_node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLB_MAX_LINKS);
	__type(key, struct lb_link_key);
	__type(value, struct lb_link);
} xlb_links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLB_MAX_VIPS);
	__type(key, struct lb_addr);
	__type(value, struct lb_vip);
} xlb_vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLB_DEFAULT_SERVICES); /* runtime */
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} xlb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLB_DEFAULT_SLOTS); /* runtime */
	__type(key, __u32);
	__type(value, struct lb_slot);
} xlb_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLB_DEFAULT_BACKENDS); /* runtime */
	__type(key, __u32);
	__type(value, struct lb_backend);
} xlb_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLB_MAX_PEERS);
	__type(key, __u32);
	__type(value, struct lb_peer);
} xlb_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLB_MAX_PEER_MACS);
	__type(key, struct lb_mac_key);
	__type(value, __u32); /* node id */
} xlb_peer_macs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLB_MAX_PEERS * XLB_ECHOES);
	__type(key, __u32);
	__type(value, struct lb_echo);
} xlb_echoes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLB_DEFAULT_FLOWS); /* runtime */
	__type(key, struct lb_flow_key);
	__type(value, struct lb_flow);
} xlb_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLB_HALF_OPEN_FLOWS);
	__type(key, struct lb_flow_key);
	__type(value, struct lb_flow);
} xlb_half_open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLB_FRAGMENTS);
	__type(key, struct lb_frag_key);
	__type(value, struct lb_frag);
} xlb_frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLB_AFFINITIES);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
} xlb_affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, XLB_DEFAULT_SOURCES); /* runtime */
	__type(key, struct lb_source_key);
	__type(value, struct lb_source);
} xlb_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLB_LOCAL_FLOWS);
	__type(key, struct lb_local_key);
	__type(value, struct lb_local);
} xlb_local SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLB_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, struct lb_counter);
} xlb_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLB_DEFAULT_SERVICES); /* runtime: index is the service id */
	__type(key, __u32);
	__type(value, struct lb_svc_stats);
} xlb_svc_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLB_MAX_VIPS + 1); /* index is the VIP's id */
	__type(key, __u32);
	__type(value, struct lb_vip_stats);
} xlb_vip_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLB_BUDGETS);
	__type(key, __u32);
	__type(value, struct lb_budget);
} xlb_budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, XLB_EVENT_RING_BYTES);
} xlb_events SEC(".maps");

#endif /* XLB_MAPS_TABLES_BPF_H */
