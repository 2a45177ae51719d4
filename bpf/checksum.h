/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Sums: ones-complement, network order. */
#ifndef XLB_BPF_CHECKSUM_H
#define XLB_BPF_CHECKSUM_H

#include "bpf/packet.h"

INLINE __u32 sum_add(__u32 left, __u32 right)
{
	__u32 sum = left + right;

	return sum + (sum < right);
}

/* 32 bits to 16, carry around. */
INLINE __u16 sum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* What replacing `from` by `to` adds to a sum over the bytes. */
INLINE __u32 sum_change16(__be16 from, __be16 to)
{
	return sum_add((__u16)~from, to);
}

INLINE __u32 sum_change_address(const struct lb_addr *from, const struct lb_addr *to)
{
	__u32 sum = sum_add(~from->word[3], to->word[3]);

	/* For IPv4 the other words are the same on both sides and add ones-complement zero. */
	sum = sum_add(sum, sum_add(~from->word[2], to->word[2]));
	sum = sum_add(sum, sum_add(~from->word[1], to->word[1]));
	return sum_add(sum, sum_add(~from->word[0], to->word[0]));
}

/* The checksum field after the bytes that it covers have changed by `change`. */
INLINE __u16 checksum_after(__u16 checksum, __u32 change)
{
	return (__u16)~sum_fold(sum_add((__u16)~checksum, change));
}

/* Pseudo-header of TCP, UDP and ICMPv6 (RFC 9293, 3.1; RFC 8200, 8.1); `length` of the upper-layer packet. */
INLINE __u32 sum_pseudo_header(const struct lb_addr *source, const struct lb_addr *destination, bool ipv6,
			       __u8 protocol, __u32 length)
{
	__u32 sum = sum_add(bpf_htonl(length), bpf_htonl(protocol));

	sum = sum_add(sum, source->word[3]);
	sum = sum_add(sum, destination->word[3]);
	if (ipv6) {
		sum = sum_add(sum, sum_add(source->word[0], sum_add(source->word[1], source->word[2])));
		sum = sum_add(sum, sum_add(destination->word[0], sum_add(destination->word[1], destination->word[2])));
	}
	return sum;
}

#endif /* XLB_BPF_CHECKSUM_H */
