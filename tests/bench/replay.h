/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the replay's sender and its programs tell each other. */
#ifndef XLB_BENCH_REPLAY_H
#define XLB_BENCH_REPLAY_H

#include <linux/types.h>

/* Sequence number that the server begins with; so the sender knows every number of a connection beforehand. */
#define BENCH_SERVER_ISN 1000u

/* Indices of bench_counts. */
#define BENCH_ANSWERS 0u   /* frames of the server that came home to the client */
#define BENCH_SWALLOWED 1u /* frames that reached the server and need no answer */
#define BENCH_STRANGERS 2u /* TCP frames at the client that are not from the address it talks to */
#define BENCH_COUNTS 3u

struct bench_setup {
	__be32 server_address; /* what the client talks to: answers must come from it */
	__be16 server_port;
	__u8 answer_to[6];     /* Ethernet destination of the server's frames: its gateway */
	__u8 answer_from[6];
	__u8 pad[2];
};

#endif /* XLB_BENCH_REPLAY_H */
