// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * BPF_PROG_TEST_RUN with `repeat` hands the program its own rewritten frame the second time. So each run begins here: the
 * frame is put back as it was, and a tail call goes on into the program that is measured. The same with a program behind
 * the tail call that does nothing is what the wrapper costs itself.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/verdicts.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_frame);
} bench_frame SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_xdp SEC(".maps"), bench_tc SEC(".maps");

static __always_inline bool restore(void *data, void *end)
{
	__u32 zero = 0;
	struct bench_frame *frame = bpf_map_lookup_elem(&bench_frame, &zero);

	if (!frame || data + BENCH_FRAME_BYTES > end)
		return false;
	__builtin_memcpy(data, frame->bytes, BENCH_FRAME_BYTES);
	if (frame->vary_port != BENCH_NO_VARIATION) {
		__u16 *port = data + (frame->vary_port & (BENCH_FRAME_BYTES - 1));
		__u8 *address = data + (frame->vary_address & (BENCH_FRAME_BYTES - 1));

		if ((void *)(port + 1) > end || (void *)(address + 1) > end)
			return false;
		*port = (__u16)frame->turn;
		*address = (__u8)(frame->turn >> 16);
		frame->turn++;
	}
	return true;
}

SEC("xdp")
int bench_wrap_xdp(struct xdp_md *xdp)
{
	if (restore((void *)(long)xdp->data, (void *)(long)xdp->data_end))
		bpf_tail_call(xdp, &bench_xdp, 0);
	return XDP_ABORTED;
}

SEC("tc")
int bench_wrap_tc(struct __sk_buff *skb)
{
	/* A refusal is shorter than what it refuses. */
	if (skb->len != BENCH_FRAME_BYTES && bpf_skb_change_tail(skb, BENCH_FRAME_BYTES, 0) != 0)
		return TC_ACT_STOLEN;
	skb->tc_index = 0;
	if (restore((void *)(long)skb->data, (void *)(long)skb->data_end))
		bpf_tail_call(skb, &bench_tc, 0);
	return TC_ACT_STOLEN;
}

SEC("xdp")
int bench_empty_xdp(struct xdp_md *xdp __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("tc")
int bench_empty_tc(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_UNSPEC;
}

char bench_license[] SEC("license") = "Dual BSD/GPL";
