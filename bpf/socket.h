/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Clients on this node and in its pods never reach the LAN link's programs: their backend is chosen when the socket
 * connects (or sends, for unconnected UDP), and the VIP is put back where the socket asks who it talks to.
 * Runs at the root of a cgroup2 hierarchy. VIPs that kube-proxy serves as well are left to it.
 */
#ifndef XLB_BPF_SOCKET_H
#define XLB_BPF_SOCKET_H

#include "bpf/select.h"
#include "bpf/steer.h"
#include "bpf/verdict.h"

#define ALLOW 1
#define DENY 0
#define ECONNREFUSED_ 111

INLINE void socket_address(struct bpf_sock_addr *sock, bool ipv6, struct lb_addr *address)
{
	if (ipv6) {
		address->word[0] = sock->user_ip6[0];
		address->word[1] = sock->user_ip6[1];
		address->word[2] = sock->user_ip6[2];
		address->word[3] = sock->user_ip6[3];
	} else {
		set_ipv4(address, sock->user_ip4);
	}
}

INLINE void set_socket_address(struct bpf_sock_addr *sock, bool ipv6, const struct lb_addr *address, __be16 port)
{
	if (ipv6) {
		sock->user_ip6[0] = address->word[0];
		sock->user_ip6[1] = address->word[1];
		sock->user_ip6[2] = address->word[2];
		sock->user_ip6[3] = address->word[3];
	} else {
		sock->user_ip4 = address->word[3];
	}
	sock->user_port = port;
}

INLINE int refuse_socket(void)
{
	bpf_set_retval(-ECONNREFUSED_);
	return DENY;
}

/*
 * Before it connects a socket has no source address unless it is bound to one. Where a service names who may come, who
 * does not say where from may not.
 */
INLINE bool source_of_socket_allowed(struct bpf_sock_addr *sock, bool ipv6, const struct lb_service *service)
{
	struct bpf_sock *sk = sock->sk;
	struct lb_addr source = {};

	if (!(service->flags & XLB_SERVICE_SOURCES))
		return true;
	if (!sk)
		return false;
	if (ipv6) {
		source.word[0] = sk->src_ip6[0];
		source.word[1] = sk->src_ip6[1];
		source.word[2] = sk->src_ip6[2];
		source.word[3] = sk->src_ip6[3];
	} else {
		set_ipv4(&source, sk->src_ip4);
	}
	return source_allowed(service, &source);
}

INLINE int connect_socket(struct bpf_sock_addr *sock, bool ipv6)
{
	struct lb_node *node = this_node();
	struct lb_addr address;
	struct lb_vip *vip;
	struct lb_service *service;
	struct choice choice;
	struct lb_local_key key = {};
	struct lb_local value = {};
	__u64 client;
	__u32 hash;
	__be16 port = (__be16)sock->user_port;

	if (!node || trial_over(node))
		return ALLOW;
	if (sock->protocol != IPPROTO_TCP && sock->protocol != IPPROTO_UDP)
		return ALLOW;
	socket_address(sock, ipv6, &address);
	vip = bpf_map_lookup_elem(&xlb_vips, &address);
	if (!vip || (vip->flags & XLB_VIP_FALL_BACK))
		return ALLOW;
	service = find_service(vip, port, (__u8)sock->protocol);
	if (!service) {
		count(XLB_VERDICT_REJECTED_TCP + (sock->protocol == IPPROTO_UDP), 0);
		return refuse_socket();
	}
	if (!source_of_socket_allowed(sock, ipv6, service)) {
		count(XLB_VERDICT_DENIED, 0);
		return refuse_socket();
	}
	/* One socket keeps its backend; with affinity one network namespace (a pod, the node) does. */
	client = service->flags & XLB_SERVICE_AFFINITY ? bpf_get_netns_cookie(sock) : bpf_get_socket_cookie(sock);
	hash = finish_hash(mix(mix(service->hash_seed, (__u32)client), (__u32)(client >> 32)));
	/* One of this node where there is one: to another node's pod the cluster's network must know a way. */
	choose_by_slot(service, hash, true, &choice);
	if (!choice.backend)
		choose_by_slot(service, hash, false, &choice);
	if (!choice.backend) {
		count(XLB_VERDICT_NO_BACKEND, 0);
		return refuse_socket();
	}
	key.cookie = bpf_get_socket_cookie(sock);
	key.backend = choice.backend->address;
	key.backend_port = choice.backend->port;
	key.protocol = (__u8)sock->protocol;
	value.vip = address;
	value.vip_port = port;
	bpf_map_update_elem(&xlb_local, &key, &value, BPF_ANY);
	set_socket_address(sock, ipv6, &choice.backend->address, choice.backend->port);
	count(XLB_VERDICT_SOCKET, 0);
	if (sock->protocol == IPPROTO_TCP)
		count_flow(service->service_id);
	return ALLOW;
}

/* recvmsg and getpeername: the backend's address becomes the VIP's again. */
INLINE int name_peer(struct bpf_sock_addr *sock, bool ipv6)
{
	struct lb_local_key key = {};
	struct lb_local *local;

	if (sock->protocol != IPPROTO_TCP && sock->protocol != IPPROTO_UDP)
		return ALLOW;
	key.cookie = bpf_get_socket_cookie(sock);
	socket_address(sock, ipv6, &key.backend);
	key.backend_port = (__be16)sock->user_port;
	key.protocol = (__u8)sock->protocol;
	local = bpf_map_lookup_elem(&xlb_local, &key);
	if (local)
		set_socket_address(sock, ipv6, &local->vip, local->vip_port);
	return ALLOW;
}

#endif /* XLB_BPF_SOCKET_H */
