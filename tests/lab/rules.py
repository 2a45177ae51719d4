# SPDX-License-Identifier: Apache-2.0
"""Netfilter rules of a home router and of a Kubernetes node.

The node's follow what flannel and kube-proxy (iptables mode) write, with their chain names, marks and order, because
xdp-lb has to live among them: the masquerade of pod traffic and the drop of INVALID packets have both eaten replies
of balancers that left half a conversation to the kernel.
"""

from __future__ import annotations

from typing import Sequence

CLUSTER_CIDR = {4: "10.42.0.0/16", 6: "fd00:42::/48"}


def router(forward_to: str) -> str:
    """A port-forward that keeps the client's address; only what leaves the LAN is masqueraded."""
    return f"""
table ip xlb_lab_nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        iifname "wan0" fib daddr type local tcp dport {{ 80, 443 }} dnat to {forward_to}
        iifname "wan0" fib daddr type local udp dport {{ 80, 443 }} dnat to {forward_to}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        iifname "lan0" oifname "wan0" masquerade
    }}
}}
table inet xlb_lab_filter {{
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan0" accept
        iifname "wan0" ct status dnat accept
        iifname "wan0" meta nfproto ipv6 accept
    }}
}}
"""


def kubernetes(version: int, pod_cidr: str, cluster_ip: str, endpoints: Sequence[str], port: int) -> str:
    """Input for iptables-restore (ip6tables-restore): one ClusterIP service on port 80 besides the fixed chains."""
    cluster = CLUSTER_CIDR[version]
    loopback = "127.0.0.0/8" if version == 4 else "::1/128"
    multicast = "224.0.0.0/4" if version == 4 else "ff00::/8"
    host = 32 if version == 4 else 128
    chains, jumps, seps = [], [], []
    for index, endpoint in enumerate(endpoints):
        sep = f"KUBE-SEP-LAB{index}"
        left = len(endpoints) - index
        chance = "" if left == 1 else f"-m statistic --mode random --probability {1 / left:.10f} "
        target = f"{endpoint}:{port}" if version == 4 else f"[{endpoint}]:{port}"
        chains.append(f":{sep} - [0:0]")
        jumps.append(f'-A KUBE-SVC-LAB -m comment --comment "default/web:http -> {target}" {chance}-j {sep}')
        seps.append(f'-A {sep} -s {endpoint}/{host} -m comment --comment "default/web:http" -j KUBE-MARK-MASQ')
        seps.append(f'-A {sep} -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination {target}')
    newline = "\n"
    return f"""*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-LAB - [0:0]
{newline.join(chains)}
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s {pod_cidr} -d {cluster} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s {cluster} -d {pod_cidr} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s {cluster} -d {pod_cidr} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s {cluster} ! -d {multicast} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s {cluster} -d {cluster} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES -d {cluster_ip}/{host} -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-LAB
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-LAB ! -s {cluster} -d {cluster_ip}/{host} -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
{newline.join(jumps)}
{newline.join(seps)}
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A FLANNEL-FWD -s {cluster} -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d {cluster} -m comment --comment "flanneld forward" -j ACCEPT
-A KUBE-FIREWALL ! -s {loopback} -d {loopback} -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""
