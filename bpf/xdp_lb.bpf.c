// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The programs. A packet's life on a LAN link:
 *
 *   not for this node's MAC, or for no VIP ───────────────────────► left alone, byte for byte
 *   echo of a peer (echo.h) ──────────────────────────────────────► answered in place, or noted: it came home
 *   ARP, neighbour discovery for an owned VIP (neighbor.h) ───────► answered in place
 *   for a VIP (steer.h): echo (icmp.h) ───────────────────────────► answered in place
 *                        ICMP error, later fragment ──────────────► to the backend of its flow
 *                        TCP, UDP: flow (flow.h), else slot (select.h) ► translated (nat.h), handed over (forward.h)
 *                        its backend is on a peer (peer.h) ───────► handed over, by MAC addresses only
 *                        no such port, no backend (reject.h) ─────► refused
 *
 * and back (return.h): from a pod's veth, or at LAN egress for backends behind this node's own stack.
 * Local clients take socket.h. `xlb_lan` (XDP) ends early what it can without a side effect; its twin does the rest.
 */
#include "bpf/echo.h"
#include "bpf/neighbor.h"
#include "bpf/return.h"
#include "bpf/socket.h"
#include "bpf/steer.h"

INLINE int enter_lan(void *ctx, int program)
{
	struct packet packet = {};
	struct lan lan = {};
	struct lb_link_key link_key = {};
	struct ethernet *eth;

	lan.node = this_node();
	if (!lan.node || trial_over(lan.node))
		return pass_on(program);
	if (!is_xdp(program))
		pull_headers(ctx);
	if (!read_ethernet(ctx, program, &packet) || packet.tagged > 1)
		return pass_on(program);
	link_key.ifindex = packet.ifindex;
	link_key.vlan = packet.vlan;
	lan.link = bpf_map_lookup_elem(&xlb_links, &link_key);
	if (!lan.link || lan.link->role != XLB_LINK_LAN)
		return pass_on(program);
	eth = frame_at(ctx, program, 0, sizeof(*eth));
	if (!eth)
		return pass_on(program);
	packet.mac_is_own = same_mac(eth->destination, lan.link->mac);
	if (!packet.mac_is_own && !packet.mac_is_group)
		return pass_on(program); /* a promiscuous NIC sees other people's frames */

	if (packet.ethertype == bpf_htons(XLB_ETHERTYPE))
		return take_echo(ctx, program, lan.node, lan.link, &packet);
	if (packet.ethertype == bpf_htons(ETH_P_ARP) && (packet.mac_is_own || packet.mac_is_broadcast))
		return neighbor_outcome(ctx, program, lan.node, &packet,
					(__u32)(is_xdp(program) ? xlb_answer_arp_xdp(ctx, lan.node, lan.link, &packet)
								: xlb_answer_arp_tc(ctx, lan.node, lan.link, &packet)));
	if (!read_addresses(ctx, program, &packet))
		return pass_on(program);
	lan.vip = bpf_map_lookup_elem(&xlb_vips, &packet.destination);
	if (lan.vip && packet.mac_is_own && !(packet.ipv6 && packet.protocol == IPPROTO_ICMPV6))
		return steer(ctx, program, &lan, &packet);
	if (!packet.ipv6 || packet.protocol != IPPROTO_ICMPV6)
		return pass_on(program);

	/* ICMPv6: neighbour discovery, unicast or to a group, comes before the VIP's own business. */
	if (read_rest(ctx, program, &packet) && packet.fragment == WHOLE &&
	    (packet.icmp_type == ND_SOLICITATION || packet.icmp_type == ND_ADVERTISEMENT))
		return neighbor_outcome(ctx, program, lan.node, &packet,
					(__u32)(is_xdp(program) ? xlb_answer_nd_xdp(ctx, lan.node, lan.link, &packet)
								: xlb_answer_nd_tc(ctx, lan.node, lan.link, &packet)));
	if (lan.vip && packet.mac_is_own)
		return steer(ctx, program, &lan, &packet);
	return pass_on(program);
}

SEC("xdp")
int xlb_lan(struct xdp_md *xdp)
{
	return enter_lan(xdp, XLB_PROGRAM_LAN_XDP);
}

SEC("tc")
int xlb_lan_tc(struct __sk_buff *skb)
{
	return enter_lan(skb, XLB_PROGRAM_LAN_TC);
}

SEC("tc")
int xlb_return(struct __sk_buff *skb)
{
	return give_back(skb, XLB_PROGRAM_RETURN);
}

SEC("tc")
int xlb_egress(struct __sk_buff *skb)
{
	if (CONTEXT_FIELD(skb, struct __sk_buff, tc_index) == XLB_TC_INDEX_DONE)
		return TC_ACT_UNSPEC;
	return give_back(skb, XLB_PROGRAM_EGRESS);
}

SEC("cgroup/connect4")
int xlb_connect4(struct bpf_sock_addr *sock)
{
	return connect_socket(sock, false);
}

SEC("cgroup/connect6")
int xlb_connect6(struct bpf_sock_addr *sock)
{
	return connect_socket(sock, true);
}

SEC("cgroup/sendmsg4")
int xlb_sendmsg4(struct bpf_sock_addr *sock)
{
	return connect_socket(sock, false);
}

SEC("cgroup/sendmsg6")
int xlb_sendmsg6(struct bpf_sock_addr *sock)
{
	return connect_socket(sock, true);
}

SEC("cgroup/recvmsg4")
int xlb_recvmsg4(struct bpf_sock_addr *sock)
{
	return name_peer(sock, false);
}

SEC("cgroup/recvmsg6")
int xlb_recvmsg6(struct bpf_sock_addr *sock)
{
	return name_peer(sock, true);
}

SEC("cgroup/getpeername4")
int xlb_peername4(struct bpf_sock_addr *sock)
{
	return name_peer(sock, false);
}

SEC("cgroup/getpeername6")
int xlb_peername6(struct bpf_sock_addr *sock)
{
	return name_peer(sock, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
