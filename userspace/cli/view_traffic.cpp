// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <time.h>

#include <array>
#include <cstdio>

#include "userspace/cli/view.hpp"
#include "userspace/core/verdict.hpp"
#include "userspace/daemon/last_pass.hpp"

namespace xlb {

namespace {

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP: return "TCP";
    case IPPROTO_UDP: return "UDP";
    case IPPROTO_ICMP: return "ICMP";
    case IPPROTO_ICMPV6: return "ICMPv6";
    case 0: return "";
    default: return std::to_string(protocol);
  }
}

const char* flow_state_text(std::uint8_t state) {
  switch (state) {
    case XLB_FLOW_HALF_OPEN: return "half-open";
    case XLB_FLOW_ESTABLISHED: return "established";
    case XLB_FLOW_CLOSING: return "closing";
    default: return "unknown";
  }
}

std::uint64_t lifetime_ns(const lb_flow_key& key, const lb_flow& flow, const lb_node& node) {
  if (flow.state == XLB_FLOW_CLOSING) return XLB_CLOSING_NS;
  if (flow.state == XLB_FLOW_HALF_OPEN) return XLB_HALF_OPEN_NS;
  return key.protocol == IPPROTO_UDP ? XLB_UDP_NS : node.tcp_idle_ns;
}

const char* program_text(std::uint8_t program) {
  switch (program) {
    case XLB_PROGRAM_LAN_XDP: return "xlb_lan";
    case XLB_PROGRAM_LAN_TC: return "xlb_lan_tc";
    case XLB_PROGRAM_RETURN: return "xlb_return";
    case XLB_PROGRAM_EGRESS: return "xlb_egress";
    case XLB_PROGRAM_SOCKET: return "xlb_connect";
    default: return "unknown";
  }
}

const char* event_kind_text(std::uint32_t kind) {
  switch (kind) {
    case XLB_EVENT_TRACE: return "sample";
    case XLB_EVENT_CONFLICT: return "conflict";
    case XLB_EVENT_REFUSED: return "refused";
    default: return "unknown";
  }
}

std::string time_text(std::int64_t wall_ns) {
  const auto second = static_cast<std::int64_t>(XLB_SECOND_NS);
  const time_t seconds = wall_ns / second;
  tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = strftime(text.data(), text.size(), "%H:%M:%S", &parts);
  std::array<char, 16> micros{};
  std::snprintf(micros.data(), micros.size(), ".%06d", static_cast<int>(wall_ns % second / 1000));
  return std::string(text.data(), length) + micros.data();
}

std::string endpoint_text(const std::string& address, unsigned port) {
  if (port == 0) return address;
  return (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" + std::to_string(port);
}

}  // namespace

Json stats_json(const Observation& seen, const Judgement& judged, const Counters& counters) {
  Json by_verdict = Json::object();
  const auto names = verdicts();
  for (std::size_t i = 0; i < counters.verdicts.size() && i < names.size(); ++i)
    by_verdict[names[i].name] = {{"outcome", names[i].outcome},
                                 {"packets", counters.verdicts[i].packets},
                                 {"bytes", counters.verdicts[i].bytes}};
  struct Sum {
    std::uint64_t packets = 0, bytes = 0, flows = 0;
    Json ports = Json::array();
  };
  const auto by_id = ports_of_services(seen.installed, judged.desired);
  std::map<std::string, Sum> sums;
  for (const ServiceCounters& entry : counters.services) {
    const auto port = by_id.find(entry.service_id);
    if (port == by_id.end()) continue;  // a freed id keeps its figures until it is given away again
    const lb_svc_stats& stats = entry.stats;
    Sum& sum = sums[port->second.shown_name()];
    sum.packets += stats.packets_in + stats.packets_out;
    sum.bytes += stats.bytes_in + stats.bytes_out;
    sum.flows += stats.flows;
    sum.ports.push_back({{"vip", port->second.vip.text()},
                         {"port", port->second.port},
                         {"protocol", protocol_text(port->second.protocol)},
                         {"packets_in", stats.packets_in},
                         {"bytes_in", stats.bytes_in},
                         {"packets_out", stats.packets_out},
                         {"bytes_out", stats.bytes_out},
                         {"flows", stats.flows}});
  }
  Json services = Json::array();
  for (auto& [name, sum] : sums)
    services.push_back({{"name", name}, {"packets", sum.packets}, {"bytes", sum.bytes}, {"flows", sum.flows},
                        {"ports", std::move(sum.ports)}});
  return {{"verdicts", by_verdict}, {"services", services}};
}

Json flows_json(const Observation& seen, const Judgement& judged, const std::vector<FlowRow>& rows,
                const FlowFilter& filter, std::uint64_t now_mono_ns) {
  const auto by_id = ports_of_services(seen.installed, judged.desired);
  Json flows = Json::array();
  for (const FlowRow& row : rows) {
    if (row.key.direction != XLB_TO_BACKEND || row.value.state == XLB_FLOW_ENDED) continue;
    const Address client = Address::from_abi(row.key.source), vip = Address::from_abi(row.value.vip);
    if (filter.vip && *filter.vip != vip) continue;
    if (filter.client && *filter.client != client) continue;
    const std::uint64_t idle = now_mono_ns > row.value.seen_mono_ns ? now_mono_ns - row.value.seen_mono_ns : 0;
    const bool over = idle > lifetime_ns(row.key, row.value, seen.node);
    if (over && !filter.all) continue;
    Json flow{{"client", client.text()},
              {"client_port", ntohs(row.key.source_port)},
              {"vip", vip.text()},
              {"vip_port", ntohs(row.value.vip_port)},
              {"protocol", protocol_name(row.key.protocol)},
              {"service", ""},
              {"backend", ""},
              {"backend_port", 0},
              {"state", over ? "over" : flow_state_text(row.value.state)},
              {"path", row.value.flags & XLB_FLOW_KERNEL ? "kernel" : "fast"},
              {"idle_seconds", idle / XLB_SECOND_NS}};
    if (const auto port = by_id.find(row.value.service_id); port != by_id.end()) flow["service"] = port->second.shown_name();
    const auto backend = seen.installed.backends.find(row.value.backend_id);
    if (backend != seen.installed.backends.end() && backend->second.generation == row.value.generation) {
      flow["backend"] = Address::from_abi(backend->second.address).text();
      flow["backend_port"] = ntohs(backend->second.port);
    } else {
      flow["state"] = "gone";  // its backend was removed: the next packet is refused
    }
    flows.push_back(std::move(flow));
  }
  return flows;
}

Json event_json(const lb_event& event, std::int64_t wall_minus_mono_ns, const std::string& interface) {
  const auto names = verdicts();
  Mac mac;
  std::copy(std::begin(event.mac), std::end(event.mac), mac.bytes.begin());
  const Address backend = Address::from_abi(event.backend);
  return {{"time", time_text(static_cast<std::int64_t>(event.mono_ns) + wall_minus_mono_ns)},
          {"kind", event_kind_text(event.kind)},
          {"verdict", event.verdict < names.size() ? names[event.verdict].name : "unknown"},
          {"program", program_text(event.program)},
          {"interface", interface},
          {"vlan", event.vlan},
          {"mac", mac.text()},
          {"protocol", protocol_name(event.protocol)},
          {"source", Address::from_abi(event.source).text()},
          {"source_port", ntohs(event.source_port)},
          {"destination", Address::from_abi(event.destination).text()},
          {"destination_port", ntohs(event.destination_port)},
          {"backend", backend.unspecified() ? "" : backend.text()},
          {"backend_port", ntohs(event.backend_port)},
          {"bytes", event.length}};
}

std::string event_line(const Json& event) {
  const auto text = [&](const char* key) { return event.at(key).get<std::string>(); };
  std::string line = text("time") + "  " + text("interface") + "  " + text("program") + "  " + text("verdict") + "  ";
  line += endpoint_text(text("source"), event.at("source_port").get<unsigned>()) + " > " +
          endpoint_text(text("destination"), event.at("destination_port").get<unsigned>());
  if (const std::string protocol = text("protocol"); !protocol.empty()) line += "  " + protocol;
  line += "  " + std::to_string(event.at("bytes").get<unsigned>()) + " bytes";
  if (const std::string backend = text("backend"); !backend.empty())
    line += "  backend " + endpoint_text(backend, event.at("backend_port").get<unsigned>());
  if (text("kind") == "conflict") line += "  from " + text("mac");
  return line;
}

}  // namespace xlb
