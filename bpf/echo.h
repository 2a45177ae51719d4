/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Echoes between nodes: does that node forward? The program itself answers, so the answer is true whatever became of the
 * daemon there, and it says by its stale flag whether anybody minds it.
 *
 * Frames of our EtherType that are no echo to this node's own MAC pass untouched: statements are for the daemon's packet
 * socket, which also tells the user of a peer with another wire version, and anybody may experiment with the EtherType.
 * An echo never goes up the stack. Only echoes are answered, by returns: two nodes cannot keep a frame going.
 */
#ifndef XLB_BPF_ECHO_H
#define XLB_BPF_ECHO_H

#include "bpf/neighbor.h"
#include "bpf/packet.h"
#include "bpf/peer.h"
#include "bpf/verdict.h"

/* The row of the echo that has come home; each counts once. The daemon may read at any instant: loader/live_rows.cpp. */
INLINE __u32 note_return(__u32 node_id, const struct lb_wire *wire)
{
	__u32 index = node_id * XLB_ECHOES + (__u32)(wire->nonce & (XLB_ECHOES - 1));
	struct lb_echo *echo = bpf_map_lookup_elem(&xlb_echoes, &index);

	if (!echo || wire->nonce == 0 || echo->nonce != wire->nonce)
		return XLB_VERDICT_ECHO_LATE;
	echo->flags = wire->flags;
	echo->returned_mono_ns = bpf_ktime_get_ns();
	echo->nonce = 0;
	return XLB_VERDICT_ECHO_HOME;
}

INLINE __u32 turn_question(void *ctx, int program, const struct lb_node *node, const struct lb_link *link,
			   const struct packet *packet)
{
	__u8 kind_and_flags[2] = {XLB_WIRE_RETURN, lease_fresh(node) ? 0 : XLB_WIRE_STALE};
	struct {
		__u16 to[3];
		__u16 from[3];
	} macs;

	copy_mac(macs.to, packet->claimant);
	copy_mac(macs.from, link->mac);
	if (frame_write(ctx, program, packet->l3 + __builtin_offsetof(struct lb_wire, kind), kind_and_flags, 2) ||
	    frame_write(ctx, program, 0, &macs, sizeof(macs)))
		return XLB_VERDICT_ERROR;
	return XLB_VERDICT_ECHO_RETURNED;
}

/* The verdict; XLB_VERDICT_ECHO_RETURNED: the frame is the return now, send it back. */
INLINE __u32 judge_echo(void *ctx, int program, const struct lb_node *node, const struct lb_link *link,
			struct packet *packet)
{
	struct lb_wire *at = frame_at(ctx, program, packet->l3, sizeof(*at));
	struct lb_wire wire;
	struct lb_mac_key key;
	__u32 *node_id;

	if (!at || !packet->mac_is_own)
		return XLB_VERDICT_PASS;
	__builtin_memcpy(&wire, at, sizeof(wire));
	if (wire.magic != bpf_htonl(XLB_WIRE_MAGIC) || wire.version != XLB_WIRE_VERSION ||
	    (wire.kind != XLB_WIRE_ECHO && wire.kind != XLB_WIRE_RETURN))
		return XLB_VERDICT_PASS;
	source_mac(ctx, program, &key);
	copy_mac(packet->claimant, key.mac);
	node_id = bpf_map_lookup_elem(&xlb_peer_macs, &key);
	if (!node_id)
		return XLB_VERDICT_ECHO_STRANGER;
	if (wire.kind == XLB_WIRE_RETURN)
		return note_return(*node_id, &wire);
	return turn_question(ctx, program, node, link, packet);
}

/* Global functions: verified once, and with a stack of their own. */
__noinline int xlb_echo_xdp(struct xdp_md *xdp, const struct lb_node *node, const struct lb_link *link,
			    struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)judge_echo(xdp, XLB_PROGRAM_LAN_XDP, node, link, packet);
}

__noinline int xlb_echo_tc(struct __sk_buff *skb, const struct lb_node *node, const struct lb_link *link,
			   struct packet *packet)
{
	if (!node || !link || !packet)
		return XLB_VERDICT_PASS;
	return (int)judge_echo(skb, XLB_PROGRAM_LAN_TC, node, link, packet);
}

INLINE int take_echo(void *ctx, int program, const struct lb_node *node, const struct lb_link *link,
		     struct packet *packet)
{
	__u32 verdict = (__u32)(is_xdp(program) ? xlb_echo_xdp(ctx, node, link, packet)
						: xlb_echo_tc(ctx, node, link, packet));

	if (verdict == XLB_VERDICT_PASS)
		return pass_on(program);
	conclude(program, node, packet, NULL, verdict);
	if (verdict != XLB_VERDICT_ECHO_RETURNED)
		return drop(program);
	/* A full transmit queue must not make this node look dead: pfifo_fast and its kin let control frames go first. */
	if (!is_xdp(program))
		((struct __sk_buff *)ctx)->priority = TC_PRIO_INTERACTIVE;
	return send_back(ctx, program);
}

#endif /* XLB_BPF_ECHO_H */
