// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/metrics.hpp"

#include <algorithm>

#include "userspace/core/allocator.hpp"
#include "userspace/core/verdict.hpp"

namespace xlb {

namespace {

using Kind = MetricsText::Kind;

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::uint64_t number(std::size_t value) { return value; }

// The pool as if it had only ranges of this family.
Pool of_family(Pool pool, Family family) {
  std::erase_if(pool.ranges, [&](const AddressRange& range) { return range.first.family() != family; });
  return pool;
}
Assignments of_family(Assignments held, Family family) {
  for (auto& [name, assignment] : held)
    std::erase_if(assignment.addresses, [&](const Address& address) { return address.family() != family; });
  return held;
}

}  // namespace

void Metrics::passed(std::chrono::nanoseconds took, bool failed) {
  ++passes_;
  failed_ += failed ? 1 : 0;
  stale_ = failed;
  took_ = took;
  took_altogether_ += took;
  took_most_ = std::max(took_most_, took);
}

void Metrics::announced(const std::vector<Address>& vips) {
  for (const Address& vip : vips) ++announced_[vip];
}

void Metrics::conflict(const Address& vip) { ++conflicts_[vip]; }

void Metrics::of_pools(MetricsText& metrics) const {
  struct Figures {
    const Pool* pool;
    PoolUsage all, four, six;
  };
  std::vector<Figures> pools;
  const Assignments four = of_family(facts_->held, Family::ipv4), six = of_family(facts_->held, Family::ipv6);
  for (const Pool& pool : facts_->pools)
    pools.push_back({&pool, usage(pool, facts_->held), usage(of_family(pool, Family::ipv4), four),
                     usage(of_family(pool, Family::ipv6), six)});
  const auto say = [&](const char* name, const char* help, PoolUsage Figures::*family, std::uint64_t PoolUsage::*what) {
    metrics.family(name, Kind::gauge, help);
    for (const Figures& figures : pools) metrics.sample({{"pool", figures.pool->name.name}}, figures.*family.*what);
  };
  say("metallb_allocator_addresses_total", "Addresses of a pool that may be given out.", &Figures::all, &PoolUsage::total);
  say("metallb_allocator_addresses_in_use_total", "Addresses of a pool that services hold.", &Figures::all, &PoolUsage::assigned);
  say("metallb_allocator_ipv4_addresses_total", "The same, of IPv4.", &Figures::four, &PoolUsage::total);
  say("metallb_allocator_ipv4_addresses_in_use_total", "The same, of IPv4.", &Figures::four, &PoolUsage::assigned);
  say("metallb_allocator_ipv6_addresses_total", "The same, of IPv6.", &Figures::six, &PoolUsage::total);
  say("metallb_allocator_ipv6_addresses_in_use_total", "The same, of IPv6.", &Figures::six, &PoolUsage::assigned);
}

void Metrics::of_vips(MetricsText& metrics, const std::set<Address>& owned) const {
  std::uint64_t answered = 0;
  metrics.family("metallb_speaker_announced", Kind::gauge, "Services whose address this node answers for.");
  for (const DesiredVip& vip : facts_->vips) {
    if (!owned.contains(vip.address)) continue;
    ++answered;
    for (const ObjectName& service : vip.services)
      metrics.sample({{"service", service.text()}, {"protocol", "layer2"}, {"node", facts_->node}, {"ip", vip.address.text()}},
                     std::uint64_t{1});
  }
  metrics.family("metallb_layer2_gratuitous_sent", Kind::counter, "Rounds of gratuitous ARP or unsolicited NA.");
  for (const auto& [vip, count] : announced_) metrics.sample({{"ip", vip.text()}}, count);
  metrics.family("xdp_lb_vips", Kind::gauge, "VIPs that services hold.");
  metrics.sample(number(facts_->vips.size()));
  metrics.family("xdp_lb_vips_owned", Kind::gauge, "VIPs that this node answers for.");
  metrics.sample(answered);
  metrics.family("xdp_lb_addresses_in_conflict", Kind::gauge, "Addresses that were not taken, because somebody else answers.");
  metrics.sample(number(facts_->conflicts));
  metrics.family("xdp_lb_conflict_frames_total", Kind::counter, "Frames of strangers that claim a VIP.");
  for (const auto& [vip, count] : conflicts_) metrics.sample({{"ip", vip.text()}}, count);

  struct Standing {
    std::uint64_t healthy = 0, draining = 0;
  };
  std::map<ObjectName, Standing> services;
  for (const DesiredService& service : facts_->services) {
    Standing& standing = services[service.name];
    for (const DesiredPort& port : service.ports)
      for (const DesiredBackend& backend : port.backends) ++(backend.draining ? standing.draining : standing.healthy);
  }
  metrics.family("xdp_lb_service_backends", Kind::gauge, "Ports of backends, by whether they take new flows.");
  for (const auto& [name, standing] : services) {
    metrics.sample({{"service", name.text()}, {"state", "healthy"}}, standing.healthy);
    metrics.sample({{"service", name.text()}, {"state", "draining"}}, standing.draining);
  }
  metrics.family("xdp_lb_table_rows", Kind::gauge, "Rows of the kernel's tables that are in use.");
  for (const auto& size : facts_->tables) metrics.sample({{"table", size.table}}, number(size.rows));
  metrics.family("xdp_lb_table_rows_most", Kind::gauge, "Rows that fit.");
  for (const auto& size : facts_->tables) metrics.sample({{"table", size.table}}, number(size.most));
}

void Metrics::of_traffic(MetricsText& metrics, const Counters& counters) const {
  const auto names = verdicts();
  const std::size_t known = std::min(counters.verdicts.size(), names.size());
  metrics.family("xdp_lb_verdict_packets_total", Kind::counter, "Packets for VIPs, by what became of them.");
  for (std::size_t i = 0; i < known; ++i)
    metrics.sample({{"verdict", names[i].name}, {"outcome", names[i].outcome}}, std::uint64_t{counters.verdicts[i].packets});
  metrics.family("xdp_lb_verdict_bytes_total", Kind::counter, "Their bytes.");
  for (std::size_t i = 0; i < known; ++i)
    metrics.sample({{"verdict", names[i].name}, {"outcome", names[i].outcome}}, std::uint64_t{counters.verdicts[i].bytes});

  const auto each = [&](const char* name, const char* help, const char* direction, __u64 lb_svc_stats::*what,
                        bool begin = true) {
    if (begin) metrics.family(name, Kind::counter, help);
    for (const ServiceCounters& entry : counters.services) {
      const auto port = facts_->ports.find(entry.service_id);
      if (port == facts_->ports.end()) continue;  // a freed id keeps its figures until it is given away again
      MetricsText::Labels labels{{"service", port->second.shown_name()},
                                 {"ip", port->second.vip.text()},
                                 {"port", std::to_string(port->second.port)},
                                 {"protocol", protocol_text(port->second.protocol)}};
      if (*direction != '\0') labels.push_back({"direction", direction});
      metrics.sample(labels, std::uint64_t{entry.stats.*what});
    }
  };
  each("xdp_lb_service_packets_total", "Packets of a service's port.", "in", &lb_svc_stats::packets_in);
  each("", "", "out", &lb_svc_stats::packets_out, false);
  each("xdp_lb_service_bytes_total", "Bytes of a service's port.", "in", &lb_svc_stats::bytes_in);
  each("", "", "out", &lb_svc_stats::bytes_out, false);
  each("xdp_lb_service_flows_total", "Flows that began.", "", &lb_svc_stats::flows);

  // The programs answer each request that is this node's to answer, so MetalLB's two figures are one here.
  for (const auto& [name, help] : {std::pair("metallb_layer2_requests_received", "ARP requests and neighbour solicitations about an address that this node answers for."),
                                   std::pair("metallb_layer2_responses_sent", "Answers to them.")}) {
    metrics.family(name, Kind::counter, help);
    for (const VipCounters& entry : counters.vips) metrics.sample({{"ip", entry.vip.text()}}, std::uint64_t{entry.stats.answers});
  }
}

void Metrics::of_passes(MetricsText& metrics) const {
  metrics.family("metallb_k8s_client_config_loaded_bool", Kind::gauge, "1: a valid configuration was read.");
  metrics.sample(std::uint64_t{facts_ ? 1u : 0u});
  metrics.family("metallb_k8s_client_config_stale_bool", Kind::gauge, "1: what is declared now is not valid, the last good one is in force.");
  metrics.sample(std::uint64_t{stale_ ? 1u : 0u});
  metrics.family("xdp_lb_passes_total", Kind::counter, "Passes from what is declared to what the kernel holds.");
  metrics.sample(passes_);
  metrics.family("xdp_lb_passes_failed_total", Kind::counter, "Passes that changed nothing.");
  metrics.sample(failed_);
  metrics.family("xdp_lb_pass_seconds_total", Kind::counter, "Time that passes took altogether.");
  metrics.sample({}, seconds(took_altogether_));
  metrics.family("xdp_lb_pass_seconds", Kind::gauge, "Time that the last pass took.");
  metrics.sample({}, seconds(took_));
  metrics.family("xdp_lb_pass_seconds_most", Kind::gauge, "Time that the longest pass took.");
  metrics.sample({}, seconds(took_most_));
  metrics.family("xdp_lb_build_info", Kind::gauge, "1, with the version.");
  metrics.sample({{"version", XLB_VERSION}, {"abi", std::to_string(XLB_ABI_VERSION)}}, std::uint64_t{1});
}

std::string Metrics::text(DataPlane& data_plane, const std::set<Address>& owned) const {
  MetricsText metrics;
  of_passes(metrics);
  if (facts_) {
    of_pools(metrics);
    of_vips(metrics, owned);
    if (facts_->attached) {
      if (auto counters = data_plane.counters()) of_traffic(metrics, *counters);
    }
  }
  for (const auto& more : more_) more(metrics);
  return metrics.text();
}

}  // namespace xlb
