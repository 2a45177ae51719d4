# SPDX-License-Identifier: Apache-2.0
"""docs/failover.md, made of docs/failover.json: what was measured, beside what was wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Iterable

from bench.report import median, table

HELD = 200
CUTS = 50  # fewer say roughly how fast it is, and prove nothing


@dataclass(frozen=True)
class Judged:
    what: str
    target: str
    measured: str
    met: bool


def p99(values: list[float]) -> float:
    """Nearest rank: of 50 values the largest."""
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def _of(seen: list[dict], key: str) -> list[float]:
    return [one[key] for one in seen if one[key] is not None]


def _ms(values: list[float], figure: Callable[[list[float]], float] = median) -> str:
    return f"{figure(values):,.0f}" if values else "–"


# -- what was wanted ---------------------------------------------------------------------------------------------------


def judge(record: dict) -> list[Judged]:
    return [*_judge_cuts(record), *_judge_daemons(record), *_judge_alarms(record), *_judge_dsr(record)]


def _judge_cuts(record: dict) -> Iterable[Judged]:
    cuts = record.get("failover", {}).get("port cut", {})
    for interval, most, most99 in ((30, 100, 130), (10, 40, 60)):
        if seen := cuts.get(f"xdp-lb {interval} ms"):
            outages = _of(seen, "outage_ms")
            profile = "default" if interval == 30 else "fast"
            for what, limit, value in (("median", most, median(outages)), ("p99", most99, p99(outages))):
                yield Judged(f"the owner's port is cut, {profile} profile ({interval} ms x 3), {len(outages)} cuts: {what} outage",
                             f"<= {limit} ms", f"{value:.0f} ms", value <= limit)
            heals, doubles = _of(seen, "heal_outage_ms"), _of(seen, "double_last_ms")
            if not heals:
                continue
            yield Judged(f"the cut heals, {profile} profile: worst outage", f"<= {3 * interval} ms", f"{max(heals):.0f} ms",
                         max(heals) <= 3 * interval)
            yield Judged(f"the cut heals, {profile} profile: two answering nodes", "never 200 ms after it",
                         f"last {max(doubles):.0f} ms after it" if max(doubles) else "never", max(doubles) <= 200)
    for interval in (50, 30, 10):
        mine, theirs = cuts.get(f"xdp-lb {interval} ms"), cuts.get(f"keepalived {interval} ms")
        if mine and theirs:
            a, b = median(_of(mine, "outage_ms")), median(_of(theirs, "outage_ms"))
            yield Judged(f"median outage of keepalived's at the same interval ({interval} ms)", "<= 1x", f"{a / b:.2f}x ({b:.0f} ms)",
                         a <= b)


def _judge_daemons(record: dict) -> Iterable[Judged]:
    for row, by_contender in record.get("failover", {}).items():
        for name, seen in by_contender.items():
            if not name.startswith("xdp-lb") or not _of(seen, "broken"):
                continue
            failed, broken = sum(_of(seen, "failed")), sum(_of(seen, "broken"))
            if "elsewhere" in row:
                yield Judged(f"{row}: long-lived connections that broke", "0", f"{broken:.0f} of {HELD * len(seen):,}", broken == 0)
                continue
            yield Judged(f"{row} ({len(seen)} times): new flows that failed, long-lived connections that broke", "0, 0",
                         f"{failed:,.0f}, {broken:.0f} of {HELD * len(seen):,}", failed == broken == 0)
            double = max(_of(seen, "double_ms"))
            if row.startswith(("kill", "SIGSTOP")):
                yield Judged(f"{row}: two answering nodes", "never", f"{double:.0f} ms" if double else "never", double == 0)


def _judge_alarms(record: dict) -> Iterable[Judged]:
    for name, seen in record.get("false_alarms", {}).items():
        if name.startswith("xdp-lb"):
            yield Judged(f"false alarms in {seen['minutes']:.0f} minutes with every core busy, {name}", "0",
                         f"{seen['alarms']}, {seen['moves']} moves", seen["alarms"] == seen["moves"] == 0)


def _judge_dsr(record: dict) -> Iterable[Judged]:
    if "xdp-lb" in record.get("dsr", {}):
        seen = record["dsr"]
        times = seen["xdp-lb"]["mbit"] / max(seen["one node, Cluster"]["mbit"], seen["one node, Local"]["mbit"])
        yield Judged("response bandwidth of three nodes, times that of one that answers for all", ">= 2.7x", f"{times:.2f}x",
                     times >= 2.7)


# What is known about a target that is missed, by the words that its line begins with.
REASONS: dict[str, str] = {
    "false alarms": "no daemon lost a peer in these minutes. The move is the VIP going to the best node thirty seconds after the start "
                    "(fail-back); the program has waited for that before it begins since this was measured",
}


def why(missed: Judged) -> str:
    return next((reason for words, reason in REASONS.items() if missed.what.startswith(words)), "not understood yet")


# -- tables ------------------------------------------------------------------------------------------------------------


def cuts(record: dict) -> list[str]:
    by_contender = record.get("failover", {}).get("port cut", {})
    rows = []
    for name, seen in sorted(by_contender.items(), key=lambda one: (-int(one[0].split()[1]), one[0])):
        outages, heals = _of(seen, "outage_ms"), _of(seen, "heal_outage_ms")
        rows.append((name, str(len(seen)), _ms(outages), _ms(outages, p99), _ms(outages, max), _ms(_of(seen, "failed")),
                     _ms(heals), _ms(heals, max), _ms(_of(seen, "double_last_ms"), max)))
    watched = max((len(_of(seen, "heal_outage_ms")) for seen in by_contender.values()), default=0)
    return ["## The port of the owner is cut, and heals", "",
            "The switch port of the node that answers stops passing frames, in both directions, and keeps its carrier: nobody is told. "
            "*Outage*: from the first new flow that failed to the first one after which none failed, or the longest time without any "
            "success, whichever is longer; so it ends when *every* flow gets an answer, those to the dead node's own backends too. "
            f"Milliseconds. The heal is watched for eight seconds, after {watched} of the cuts.", "",
            *table(("contender", "cuts", "outage, median", "p99", "worst", "flows failed, median", "at the heal: outage, median", "worst",
                    "two answered for the last time after"), rows)] if rows else []


def others(record: dict) -> list[str]:
    rows = []
    for row, by_contender in record.get("failover", {}).items():
        if row == "port cut":
            continue
        for name, seen in sorted(by_contender.items(), reverse=True):
            outages, doubles, broken = _of(seen, "outage_ms"), _of(seen, "double_ms"), _of(seen, "broken")
            rows.append((f"{row}: {name}", str(len(seen)), _ms(outages), _ms(outages, max), f"{sum(_of(seen, 'failed')):,.0f}",
                         _ms(_of(seen, "heal_outage_ms"), max), _ms(doubles), _ms(doubles, max),
                         f"{sum(broken):.0f} of {HELD * len(broken):,}" if broken else "–"))
    return ["## Other misfortunes", "",
            "*Afterwards* is the outage when the node or its daemon comes back. *Two answering*: for how long the watcher got answers from "
            "two nodes to one request; with keepalived's daemon stopped or killed the address stays at its node, and both nodes answer. "
            f"*Broken*: of {HELD} connections that exchange a byte every 100 ms; keepalived moves an address, and connections end where "
            "their server is, so all of its break whenever the address moves: that is what it is, and no fault.", "",
            *table(("what", "times", "outage, median", "worst", "flows failed, all", "afterwards, worst", "two answering, median", "worst",
                    "broken"), rows)] if rows else []


def alarms(record: dict) -> list[str]:
    seen = record.get("false_alarms", {})
    seen_by_watcher = ("moves", "double_ms", "silence_ms")
    rows = [(name, f"{one['minutes']:.0f}", str(one["alarms"]), *(f"{one[key]:,}" if key in one else "–" for key in seen_by_watcher))
            for name, one in sorted(seen.items(), reverse=True)]
    return ["## False alarms", "",
            "All of them at once, each with three nodes of its own, while one process a CPU spins. "
            "An alarm is a living node that another gave up.", "",
            *table(("contender", "minutes", "alarms", "moves seen", "two answering, ms", "nobody answering, ms"), rows)] if rows else []


def dsr(record: dict) -> list[str]:
    seen = record.get("dsr", {})
    one = max((figures["mbit"] for name, figures in seen.items() if name != "xdp-lb"), default=0)
    rows = [(name, f"{figures['mbit']:.0f}", f"{figures['mbit'] / one:.2f}",
             ", ".join(f"{node} {count}" for node, count in sorted(figures["macs"].items())),
             ", ".join(figures["clients"])) for name, figures in seen.items() if one]
    return ["## Response bandwidth", "",
            "Three nodes whose NICs send at most 100 Mbit/s, one VIP, four clients that download. *One node* answers for all: the VIP "
            "at one node, kube-proxy's DNAT to the pods of all nodes (`Cluster`: masqueraded, so that answers return through it) or to its "
            "own pod (`Local`).", "",
            *table(("who", "Mbit/s", "times one node", "frames captured at a client, by the node whose MAC sent them",
                    "clients in the servers' logs"), rows)] if rows else []


def failover(record: dict) -> list[str]:
    return [*cuts(record), *others(record)]


def page(record: dict) -> str:
    judged = judge(record)
    missed = [one for one in judged if not one.met]
    few = any(len(seen) < CUTS for seen in record.get("failover", {}).get("port cut", {}).values())
    taken = [f"- {part}: {one['machine']}; of revision {one['revision']}, {one['date']}; load average {one['load']}"
             + (" (**the machine was busy**)" if one["load"] > 3 else "") for part, one in sorted(record["taken"].items())]
    lines = ["# When a node dies", "",
             "Written by `tests/bench/failover`, `tests/bench/false_alarms` and `tests/bench/dsr` from [failover.json](failover.json); "
             "do not edit. Three nodes, a client and a switch in network namespaces of one machine; keepalived 2.2.7 (VRRPv3) in the same lab "
             "with the same server, client and faults. The client opens a new TCP flow every millisecond; a flow that gets no answer within "
             "500 ms has failed.", "",
             *taken,
             *(f"- **{note}**" for note in record.get("notes", [])),
             *([f"- **preliminary**: fewer than {CUTS} cuts of some contender"] if few else []),
             "- reproduce: the three programs as root, after `tools/test build` (`--quick`: to see that they work)", "",
             "## Targets", "",
             f"{len(judged) - len(missed)} of {len(judged)} are met"
             + (", the others are explained [below](#what-is-missed-and-why)." if missed else "."), "",
             *table(("what", "target", "measured", "met"),
                    ((one.what, one.target, one.measured, "yes" if one.met else "**no**") for one in judged)),
             *cuts(record), *others(record), *alarms(record), *dsr(record)]
    if missed:
        lines += ["## What is missed, and why", "",
                  *(f"- **{one.what}** ({one.measured}, target {one.target}): {why(one)}" for one in missed)]
    return "\n".join(lines).rstrip() + "\n"
