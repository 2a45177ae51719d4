/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What happened to a packet, counted, and told to whoever listens. A frame sent back by XDP is invisible to tcpdump. */
#ifndef XLB_BPF_VERDICT_H
#define XLB_BPF_VERDICT_H

#include "bpf/packet.h"

/* The coarse clock costs 2 ns where the fine one costs 25; it ticks every 1 to 10 ms. */
INLINE __u64 now_ns(void)
{
	return bpf_ktime_get_coarse_ns();
}

/* True while `limit` ns have not passed since `since`; another CPU may have written a later tick. */
INLINE bool within(__u64 now, __u64 since, __u64 limit)
{
	return (__s64)(now - since) < (__s64)limit;
}

/* `attach --try`: past its deadline every program passes everything. */
INLINE bool trial_over(const struct lb_node *node)
{
	return node->try_mono_ns && !within(now_ns(), node->try_mono_ns, 0);
}

INLINE struct lb_node *this_node(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&xlb_node, &zero);
}

/* Takes one from this CPU's budget of the running second. */
INLINE bool afford(__u32 budget_index, __u64 per_second)
{
	struct lb_budget *budget = bpf_map_lookup_elem(&xlb_budget, &budget_index);
	__u64 now = now_ns();

	if (!budget)
		return false;
	if (!within(now, budget->refilled_mono_ns, XLB_SECOND_NS)) {
		budget->refilled_mono_ns = now;
		budget->tokens = per_second;
	}
	if (budget->tokens == 0)
		return false;
	budget->tokens--;
	return true;
}

INLINE void count(__u32 verdict, __u32 bytes)
{
	struct lb_counter *counter = bpf_map_lookup_elem(&xlb_counters, &verdict);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

/*
 * The functions below are global (not static): the verifier looks at each once instead of at every call. Its price:
 * pointer arguments may be NULL, as far as it knows, and there are five arguments at most.
 */

/* `what` packs kind, program and verdict: 8, 8 and 16 bits from the low end. */
__noinline int xlb_emit(const struct packet *packet, const struct lb_addr *backend, __u32 backend_port, __u32 what)
{
	struct lb_event *event;

	if (!packet)
		return 0;
	event = bpf_ringbuf_reserve(&xlb_events, sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->mono_ns = bpf_ktime_get_ns();
	event->source = packet->source;
	event->destination = packet->destination;
	event->kind = what & 0xff;
	event->verdict = what >> 16;
	event->ifindex = packet->ifindex;
	event->length = packet->length;
	event->source_port = packet->source_port;
	event->destination_port = packet->destination_port;
	event->vlan = packet->vlan;
	event->protocol = packet->protocol;
	event->program = (__u8)(what >> 8);
	if (backend) {
		event->backend = *backend;
		event->backend_port = (__be16)backend_port;
	}
	copy_mac(event->mac, packet->claimant);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Counts the verdict, and samples it while `xdp-lb trace` listens. */
__noinline int xlb_conclude(const struct packet *packet, const struct lb_node *node, const struct lb_backend *backend,
			    __u32 program, __u32 verdict)
{
	if (!packet || !node)
		return 0;
	count(verdict, packet->length);
	if (node->trace_until_mono_ns == 0 || !within(now_ns(), node->trace_until_mono_ns, 0))
		return 0;
	if (node->trace_every > 1 && bpf_get_prandom_u32() % node->trace_every != 0)
		return 0;
	if (backend)
		xlb_emit(packet, &backend->address, backend->port, XLB_EVENT_TRACE | program << 8 | verdict << 16);
	else
		xlb_emit(packet, NULL, 0, XLB_EVENT_TRACE | program << 8 | verdict << 16);
	return 0;
}

/* A first packet that was refused or denied, or a conflict, is worth a line in the daemon's log, within reason. */
__noinline int xlb_report(const struct packet *packet, __u32 program, __u32 verdict, __u32 kind)
{
	if (packet && afford(XLB_BUDGET_EVENT, XLB_EVENTS_PER_SECOND))
		xlb_emit(packet, NULL, 0, kind | program << 8 | verdict << 16);
	return 0;
}

INLINE void conclude(int program, const struct lb_node *node, const struct packet *packet,
		     const struct lb_backend *backend, __u32 verdict)
{
	xlb_conclude(packet, node, backend, (__u32)program, verdict);
}

INLINE void report(int program, const struct packet *packet, __u32 verdict, __u32 kind)
{
	xlb_report(packet, (__u32)program, verdict, kind);
}

INLINE void count_answer(__u32 vip_id)
{
	struct lb_vip_stats *stats = bpf_map_lookup_elem(&xlb_vip_stats, &vip_id);

	if (stats)
		stats->answers++;
}

INLINE struct lb_svc_stats *service_stats(__u32 service_id)
{
	return bpf_map_lookup_elem(&xlb_svc_stats, &service_id);
}

INLINE void count_in(__u32 service_id, __u32 bytes)
{
	struct lb_svc_stats *stats = service_stats(service_id);

	if (stats) {
		stats->packets_in++;
		stats->bytes_in += bytes;
	}
}

INLINE void count_out(__u32 service_id, __u32 bytes)
{
	struct lb_svc_stats *stats = service_stats(service_id);

	if (stats) {
		stats->packets_out++;
		stats->bytes_out += bytes;
	}
}

INLINE void count_flow(__u32 service_id)
{
	struct lb_svc_stats *stats = service_stats(service_id);

	if (stats)
		stats->flows++;
}

#endif /* XLB_BPF_VERDICT_H */
