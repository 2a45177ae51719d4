# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes-benchmarks.md, made of docs/kubernetes.json."""

from __future__ import annotations

import statistics

from bench.report import table

COMMAND = "tests/bench/kubernetes"
WHAT_A_CHANGE_COSTS = (
    "**What a change costs.** 10 ms are waited for more changes. The rest is a pass: it looks at the machine, decides, compiles",
    "and compares everything, so that whatever went wrong before is mended; its cost grows with what is served, not with what has changed.",
    "Deciding and compiling is kept small by remembering (`docs/benchmarks.md` has its share), what the tables hold is not read back, looking",
    "remains. The daemon of the other node does the same at the same time, and the API server and etcd are on these CPUs, too.",
    "What is declared is written to disk, ten seconds apart at least and by a thread of its own; a change that falls together with that",
    "counts its CPU time, too.")


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def targets(record: dict) -> list[tuple[str, str, str, bool]]:
    rows: list[tuple[str, str, str, bool]] = []
    if "small" in record:
        memory = record["small"]["memory"]["resident"]
        rows.append((f"resident memory of the daemon, {record['small']['services']} Services", "<= 28 MiB", f"{memory:.1f} MiB", memory <= 28))
    for scale in _large(record):
        memory = max(scale["memory"]["resident"], scale["memory_after"]["resident"])
        of_which = f"{scale['load_balancers']:,} of {scale['services']:,} Services are load balancers"
        rows.append((f"{of_which}, {scale['endpoints']:,} endpoints: resident memory of the daemon, without maps",
                     "<= 64 MiB", f"{memory:.1f} MiB", memory <= 64))
        everything = statistics.median(one["all_ms"] for one in scale["changes"])
        own = statistics.median(one["own_ms"] for one in scale["changes"])
        rows.append((f"{of_which}, one endpoint changes: from before the request to the API server to the row in the table, median", "<= 50 ms",
                     f"{everything:.1f} ms", everything <= 50))
        rows.append((f"{of_which}: of it CPU time of the daemon, all threads, median", "<= 5 ms", f"{own:.1f} ms", own <= 5))
    return rows


def figures(record: dict) -> list[str]:
    lines: list[str] = []
    rows = targets(record)
    if rows:
        lines += ["## Targets", "", *table(("what", "target", "measured", "met"),
                                           [(what, target, measured, "yes" if met else "**no**") for what, target, measured, met in rows])]
    if any(("changes" in what or "CPU time" in what) and not met for what, _, _, met in rows):
        lines += [*WHAT_A_CHANGE_COSTS, ""]
    for scale in _large(record):
        lines += _scale(scale)
    if "small" in record:
        small = record["small"]
        lines += ["## A small cluster", "", *table(("what", "measured"), [
            (f"{small['services']} Services: resident memory", f"{small['memory']['resident']:.1f} MiB"),
            ("of it nobody else's", f"{small['memory']['anonymous']:.1f} MiB"),
            ("at its highest", f"{small['memory']['peak']:.1f} MiB"),
            ("CPU when nothing changes", f"{small['idle_percent']:.2f} %")])]
    if "beside" in record:
        lines += _beside(record["beside"])
    return lines


def _large(record: dict) -> list[dict]:
    return [record[part] for part in ("scale", "crowded") if part in record]


def _scale(scale: dict) -> list[str]:
    changes = scale["changes"]
    everything, own = [one["all_ms"] for one in changes], [one["own_ms"] for one in changes]
    after = [one["after_answer_ms"] for one in changes]
    rows = [
        ("the first start, until every Service has an address and is served", f"{scale['first_s']:.1f} s"),
        (f"later starts with empty tables, until the last map write (median of {len(scale['start_s'])})",
         f"{statistics.median(scale['start_s']):.1f} s"),
        ("resident memory, without maps", f"{scale['memory']['resident']:.1f} MiB"),
        ("the same after the changes below", f"{scale['memory_after']['resident']:.1f} MiB"),
        ("at its highest, the first lists included", f"{scale['memory_after']['peak']:.1f} MiB"),
        (f"one endpoint changes, {len(changes)} times: until the row is written, median", f"{statistics.median(everything):.1f} ms"),
        ("90th percentile", f"{_percentile(everything, 0.9):.1f} ms"),
        ("since the API server has answered who made the change, median", f"{statistics.median(after):.1f} ms"),
        ("CPU time of the daemon for it, median", f"{statistics.median(own):.1f} ms"),
        *((f"CPU at {busy['changes_per_s']:.0f} endpoint changes a second, of {what}", f"{busy['cpu_percent']:.1f} %")
          for what, busy in scale["busy"].items()),
    ]
    sharing = f" {scale['sharers']} of these share an address." if scale["sharers"] > 1 else ""
    sizes = ",".join(f"{table}={entries}" for table, entries in scale["tables"].items())
    tables = f" Tables were made by `--table-sizes {sizes}`." if sizes else ""
    return [f"## A large cluster: {scale['load_balancers']:,} load balancers", "",
            f"{scale['services']:,} Services without node ports, {scale['load_balancers']:,} of them of type LoadBalancer, each with ten",
            f"endpoints in a hand-written EndpointSlice, half of them on each of two nodes.{sharing}{tables} A daemon waits 10 ms for more",
            "changes before it looks at one.", "", *table(("what", "measured"), rows)]


def _beside(beside: dict) -> list[str]:
    rows = []
    for name, one in beside["contenders"].items():
        cuts = one["cuts"]
        memory = ", ".join(f"{part} {'/'.join(f'{value:.0f}' for value in values)}" for part, values in sorted(one["memory"].items()))
        rows.append((name, f"{one['first_s']:.1f}", f"{statistics.median(cut['gap_ms'] for cut in cuts):,.0f}",
                     f"{max(cut['gap_ms'] for cut in cuts):,.0f}",
                     f"{statistics.median(cut['failed'] for cut in cuts) / beside['cut_s'] / 10:.1f} %",
                     f"{statistics.median(cut['double_ms'] for cut in cuts):,.0f}", f"{max(cut['double_ms'] for cut in cuts):,.0f}",
                     "yes" if one["seen"] == one["client"] else "no", memory))
    return ["## Beside MetalLB and kube-proxy", "",
            f"Three nodes with a pod each, kube-proxy (nftables) in both clusters, externalTrafficPolicy Cluster. The owner's port is cut for",
            f"{beside['cut_s']} s, {len(next(iter(beside['contenders'].values()))['cuts'])} times, and mended. Times in milliseconds but the first.", "",
            *table(("contender", "first VIP after the pool's manifest, s", "nobody served after the cut, median", "worst",
                    f"new connections that failed in the {beside['cut_s']} s", "two nodes answered after the heal, median", "worst",
                    "server sees the client's address", "memory of the parts, MiB"), rows)]


def page(record: dict) -> str:
    taken = [f"- {part}: {facts['machine']}; of revision {facts['revision']}, {facts['date']}; load average {facts['load']}"
             for part, facts in sorted(record["taken"].items())]
    return "\n".join(["# In a cluster: how large, how fast, beside whom", "",
                      f"Written by `{COMMAND}`, with a real control plane (etcd, kube-apiserver, controllers) on the same machine.", "",
                      *taken, f"- reproduce: `{COMMAND}` as root, after `tools/test build` (`--quick`: to see that it works)", "",
                      *figures(record)]) + "\n"
