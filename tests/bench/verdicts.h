/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the verdict benchmark and its wrapper programs tell each other. */
#ifndef XLB_BENCH_VERDICTS_H
#define XLB_BENCH_VERDICTS_H

#include <linux/types.h>

/* Frames are padded to this length; it holds every header that a program may have rewritten. */
#define BENCH_FRAME_BYTES 128u
#define BENCH_NO_VARIATION 0xffffffffu

struct bench_frame {
	__u8 bytes[BENCH_FRAME_BYTES];
	/*
	 * Offset of the client port, where every run is to be another client, or BENCH_NO_VARIATION. A new port each
	 * time, and a new last byte of the address (at `vary_address`) each 65,536 times.
	 */
	__u32 vary_port;
	__u32 vary_address;
	__u32 turn;
	__u32 pad;
};

#endif /* XLB_BENCH_VERDICTS_H */
