# SPDX-License-Identifier: Apache-2.0
"""What kube-proxy would write for a LoadBalancer service, in its iptables and in its nftables mode.

Chains, marks and order are kube-proxy's, for a small cluster: `SERVICES` services of one endpoint each, among them
the one that is measured, in the middle. externalTrafficPolicy is Cluster, the default, so the client's address is
masqueraded: that is the work that a user's node does today. flannel's rules come from the lab.
"""

from __future__ import annotations

from lab import rules

SERVICES = 20


def iptables(vip: str, port: int, endpoint: str, endpoint_port: int, pod_cidr: str) -> str:
    """Input for iptables-restore."""
    plain = rules.kubernetes(4, pod_cidr, "10.43.0.80", [endpoint], endpoint_port)
    nat, filters = plain.split("*filter", 1)
    chains, jumps, body = [], [], []
    for number in range(SERVICES):
        ours = number == SERVICES // 2
        address, service_port = (endpoint, endpoint_port) if ours else (f"10.42.1.{number + 10}", 8000)
        name = f"BENCH{number}"
        cluster_ip, outside, at = f"10.43.1.{number + 1}", vip if ours else f"192.0.2.{number + 1}", port if ours else 80
        comment = f'-m comment --comment "bench/service{number}'
        chains += [f":KUBE-SVC-{name} - [0:0]", f":KUBE-EXT-{name} - [0:0]", f":KUBE-SEP-{name} - [0:0]"]
        jumps += [f'-A KUBE-SERVICES -d {cluster_ip}/32 -p tcp {comment} cluster IP" -m tcp --dport {at} -j KUBE-SVC-{name}',
                  f'-A KUBE-SERVICES -d {outside}/32 -p tcp {comment} loadbalancer IP" -m tcp --dport {at} -j KUBE-EXT-{name}']
        body += [f'-A KUBE-EXT-{name} {comment} external destinations" -j KUBE-MARK-MASQ',
                 f"-A KUBE-EXT-{name} -j KUBE-SVC-{name}",
                 f'-A KUBE-SVC-{name} ! -s 10.42.0.0/16 -d {cluster_ip}/32 -p tcp {comment} cluster IP" -m tcp --dport {at} '
                 "-j KUBE-MARK-MASQ",
                 f'-A KUBE-SVC-{name} {comment} -> {address}:{service_port}" -j KUBE-SEP-{name}',
                 f'-A KUBE-SEP-{name} -s {address}/32 {comment}" -j KUBE-MARK-MASQ',
                 f'-A KUBE-SEP-{name} -p tcp {comment}" -m tcp -j DNAT --to-destination {address}:{service_port}']
    # Chains are declared before rules; kube-proxy's jumps stand before its jump to the node ports, which is last.
    lines, last = nat.splitlines(), []
    head = [line for line in lines if line.startswith(("*", ":"))]
    rest = [line for line in lines if line.startswith("-A")]
    last = [line for line in rest if "nodeports" in line]
    rest = [line for line in rest if "nodeports" not in line]
    return "\n".join([*head, *chains, *rest, *jumps, *last, *body, "COMMIT", "*filter" + filters.rstrip(), ""])


def nftables(vip: str, port: int, endpoint: str, endpoint_port: int, pod_cidr: str) -> str:
    """Input for nft -f: kube-proxy's nftables mode looks services up in a map instead of walking rules."""
    cluster = rules.CLUSTER_CIDR[4]
    chains, elements = [], []
    for number in range(SERVICES):
        ours = number == SERVICES // 2
        address, service_port = (endpoint, endpoint_port) if ours else (f"10.42.1.{number + 10}", 8000)
        outside, at, cluster_ip = vip if ours else f"192.0.2.{number + 1}", port if ours else 80, f"10.43.1.{number + 1}"
        chains.append(f"""
    chain endpoint-{number} {{
        ip saddr {address} jump mark-for-masquerade
        meta l4proto tcp dnat to {address}:{service_port}
    }}
    chain service-{number} {{
        ip daddr {cluster_ip} tcp dport {at} ip saddr != {cluster} jump mark-for-masquerade
        numgen random mod 1 vmap {{ 0 : goto endpoint-{number} }}
    }}
    chain external-{number} {{
        jump mark-for-masquerade
        goto service-{number}
    }}""")
        elements += [f"{cluster_ip} . tcp . {at} : goto service-{number}", f"{outside} . tcp . {at} : goto external-{number}"]
    return f"""
table ip kube-proxy {{
    chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
{"".join(chains)}
    map service-ips {{
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = {{ {", ".join(elements)} }}
    }}
    map no-endpoint-services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    chain services {{ ip daddr . meta l4proto . th dport vmap @service-ips; }}
    chain service-endpoints-check {{ ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
    chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
    chain masquerading {{
        meta mark & 0x4000 == 0 return
        meta mark set meta mark ^ 0x4000
        masquerade fully-random
    }}
    chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
    chain nat-output {{ type nat hook output priority -100; jump services; }}
    chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
    chain filter-prerouting {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
    chain filter-forward {{ type filter hook forward priority -110; ct state new jump service-endpoints-check; }}
    chain filter-forward-invalid {{ type filter hook forward priority filter; ct state invalid drop; }}
}}
table ip flannel-ipv4 {{
    chain forward {{ type filter hook forward priority filter; ip saddr {cluster} accept; ip daddr {cluster} accept; }}
    chain postrtg {{
        meta mark & 0x4000 == 0x4000 return
        ip saddr {pod_cidr} ip daddr {cluster} return
        ip saddr {cluster} ip daddr {pod_cidr} return
        ip saddr != {cluster} ip daddr {pod_cidr} return
        ip saddr {cluster} ip daddr != 224.0.0.0/4 masquerade fully-random
        ip saddr != {cluster} ip daddr {cluster} masquerade fully-random
    }}
    chain postrouting {{ type nat hook postrouting priority srcnat; jump postrtg; }}
}}
"""
