// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The two ends of a replayed connection, so small that what stands between them is what is measured.
 *
 * bench_server stands at the ingress of the pod's eth0 and turns frames around: a SYN becomes a SYN-ACK, data comes back
 * as data of the same length, a FIN is answered by a FIN; a bare ACK is swallowed. It knows no connections: every number
 * it needs is in the frame. bench_sink stands at the client's eth0, counts what comes home and swallows it.
 *
 * The frames carry partial checksums, as a local TCP sender's do; swapping addresses and ports leaves the sum of the
 * pseudo header as it is, so the server computes nothing.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/replay.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* the sender waits for these numbers by reading memory */
	__uint(max_entries, BENCH_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} bench_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_setup);
} bench_setup SEC(".maps");

struct frame {
	struct ethhdr *ethernet;
	struct iphdr *ip;
	struct tcphdr *tcp;
};

static __always_inline bool read_frame(struct __sk_buff *skb, struct frame *frame)
{
	void *end;

	if (bpf_skb_pull_data(skb, sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr)) != 0)
		return false;
	end = (void *)(long)skb->data_end;
	frame->ethernet = (void *)(long)skb->data;
	frame->ip = (void *)(frame->ethernet + 1);
	frame->tcp = (void *)(frame->ip + 1);
	if ((void *)(frame->tcp + 1) > end)
		return false;
	return frame->ethernet->h_proto == bpf_htons(ETH_P_IP) && frame->ip->ihl == 5 &&
	       frame->ip->protocol == IPPROTO_TCP;
}

static __always_inline void count(__u32 what)
{
	__u64 *number = bpf_map_lookup_elem(&bench_counts, &what);

	if (number)
		__sync_fetch_and_add(number, 1);
}

SEC("tc")
int bench_server(struct __sk_buff *skb)
{
	__u32 zero = 0, payload, sequence;
	struct bench_setup *setup = bpf_map_lookup_elem(&bench_setup, &zero);
	struct frame frame;
	__be32 address;
	__be16 port;

	if (!setup || !read_frame(skb, &frame))
		return TC_ACT_OK;
	payload = bpf_ntohs(frame.ip->tot_len) - sizeof(struct iphdr) - sizeof(struct tcphdr);
	sequence = bpf_ntohl(frame.tcp->seq);
	if (frame.tcp->syn) {
		frame.tcp->ack = 1;
		frame.tcp->seq = bpf_htonl(BENCH_SERVER_ISN);
		frame.tcp->ack_seq = bpf_htonl(sequence + 1);
	} else if (frame.tcp->fin || payload > 0) {
		frame.tcp->seq = frame.tcp->ack_seq;
		frame.tcp->ack_seq = bpf_htonl(sequence + payload + frame.tcp->fin);
	} else {
		count(BENCH_SWALLOWED);
		return TC_ACT_SHOT;
	}
	address = frame.ip->saddr;
	frame.ip->saddr = frame.ip->daddr;
	frame.ip->daddr = address;
	port = frame.tcp->source;
	frame.tcp->source = frame.tcp->dest;
	frame.tcp->dest = port;
	__builtin_memcpy(frame.ethernet->h_dest, setup->answer_to, ETH_ALEN);
	__builtin_memcpy(frame.ethernet->h_source, setup->answer_from, ETH_ALEN);
	return (int)bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int bench_sink(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct bench_setup *setup = bpf_map_lookup_elem(&bench_setup, &zero);
	struct frame frame;

	if (!setup || !read_frame(skb, &frame))
		return TC_ACT_OK;
	if (frame.ip->saddr == setup->server_address && frame.tcp->source == setup->server_port)
		count(BENCH_ANSWERS);
	else
		count(BENCH_STRANGERS);
	return TC_ACT_SHOT;
}

char bench_license[] SEC("license") = "Dual BSD/GPL";
