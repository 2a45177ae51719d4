// SPDX-License-Identifier: Apache-2.0
// IPAddressPool and L2Advertisement (metallb.io/v1beta1). Refusals in MetalLB's words where it has them.
#include <algorithm>
#include <set>
#include <utility>

#include "userspace/core/object_fields.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

const char* const kCoversIpv4 = "it holds ::ffff:0:0/96, which is all of IPv4: write a smaller range";

Result<AddressRange> read_start_and_end(const std::string& text, std::size_t dash) {
  const std::string invalid = "invalid IP range " + in_quotes(std::string_view(text));
  const std::string_view start = trimmed(std::string_view(text).substr(0, dash));
  const std::string_view end = trimmed(std::string_view(text).substr(dash + 1));
  const Result<Address> first = parse_address(start);
  if (!first) return Error{"invalid start IP " + in_quotes(start)}.in(invalid);
  const Result<Address> last = parse_address(end);
  if (!last) return Error{"invalid end IP " + in_quotes(end)}.in(invalid);
  if (first->family() != last->family()) {
    return Error{"start IP " + in_quotes(start) + " and end IP " + in_quotes(end) +
                 " are of different families: write one range for each"}
        .in(invalid);
  }
  if (*last < *first) {
    return Error{"start IP " + in_quotes(start) + " is after the end IP " + in_quotes(end)}.in(invalid);
  }
  return AddressRange{*first, *last, text};
}

// Every IPv4 address has a place among the IPv6 ones (::ffff:0:0/96, RFC 4291, 2.5.5.2), which is how it is held
// here: a range around that block would hold all of them too.
bool covers_ipv4(const AddressRange& range) {
  const AddressRange mapped{Address::from_ipv4({0, 0, 0, 0}), Address::from_ipv4({255, 255, 255, 255}), {}};
  return range.first.family() == Family::ipv6 && range.overlaps(mapped);
}

std::optional<AddressRange> read_range(const Field& field, const std::string& pool) {
  const std::string text = field.required_text("an entry of addresses is a CIDR or start-end");
  if (text.empty()) return std::nullopt;
  const std::string invalid =
      "invalid CIDR " + in_quotes(std::string_view(text)) + " in pool " + in_quotes(std::string_view(pool)) + ": ";
  if (const std::size_t dash = text.find('-'); dash != std::string::npos) {
    Result<AddressRange> range = read_start_and_end(text, dash);
    if (range && covers_ipv4(*range)) range = Error{kCoversIpv4};
    if (range) return *range;
    field.fail(invalid + range.error().text);
    return std::nullopt;
  }
  bool masked = false;
  const Result<Prefix> prefix = parse_prefix(text, &masked);
  if (!prefix) {
    const Result<Address> bare = parse_address(text);
    field.fail(invalid + (bare ? "a single address is written " + bare->text() +
                                     (bare->family() == Family::ipv4 ? "/32" : "/128")
                               : "write 192.168.0.0/24 or 192.168.0.200-192.168.0.250"));
    return std::nullopt;
  }
  const AddressRange range{prefix->first(), prefix->last(), text};
  if (covers_ipv4(range)) {
    field.fail(invalid + kCoversIpv4);
    return std::nullopt;
  }
  if (masked) {
    field.warn(in_quotes(std::string_view(text)) + " is the whole of " + prefix->text() + ", from " +
               prefix->first().text() + " to " + prefix->last().text());
  }
  return range;
}

ServiceAllocation read_allocation(const Field& field) {
  ServiceAllocation allocation;
  field.only({"priority", "namespaces", "namespaceSelectors", "serviceSelectors"});
  allocation.priority = static_cast<std::uint32_t>(field["priority"].integer(0, 0x7fffffff, 0));
  for (const Field& item : field["namespaces"].items()) {
    const std::string ns = item.required_text("an entry of namespaces is a name");
    if (!allocation.namespaces.insert(ns).second) {
      item.fail("duplicate definition of namespace " + in_quotes(std::string_view(ns)) + ": remove one");
    }
  }
  allocation.namespace_selectors = read_selectors(field["namespaceSelectors"]);
  allocation.service_selectors = read_selectors(field["serviceSelectors"]);
  return allocation;
}

}  // namespace

Pool read_pool(const ObjectName& name, Reading& reading) {
  const Field root = reading.root();
  const Field spec = root["spec"];
  root.only({"apiVersion", "kind", "metadata", "spec", "status"});
  spec.only({"addresses", "autoAssign", "avoidBuggyIPs", "serviceAllocation"});
  Pool pool;
  pool.name = name;
  pool.labels = read_labels(root["metadata"]["labels"]);
  for (const Field& item : spec["addresses"].items()) {
    if (auto range = read_range(item, pool.name.name)) pool.ranges.push_back(std::move(*range));
  }
  if (pool.ranges.empty()) spec["addresses"].fail("pool has no prefixes defined");
  pool.auto_assign = spec["autoAssign"].boolean(true);
  pool.avoid_buggy_ips = spec["avoidBuggyIPs"].boolean(false);
  if (spec["serviceAllocation"].present()) pool.allocation = read_allocation(spec["serviceAllocation"]);
  return pool;
}

L2Advertisement read_advertisement(const ObjectName& name, Reading& reading) {
  const Field root = reading.root();
  const Field spec = root["spec"];
  root.only({"apiVersion", "kind", "metadata", "spec", "status"});
  spec.only({"ipAddressPools", "ipAddressPoolSelectors", "nodeSelectors", "interfaces", "serviceSelectors",
             "preferredNodeSelectors"});
  L2Advertisement advertisement;
  advertisement.name = name;
  for (const Field& item : spec["ipAddressPools"].items()) {
    const std::string pool = item.required_text("an entry of ipAddressPools is the name of a pool");
    if (std::find(advertisement.pools.begin(), advertisement.pools.end(), pool) != advertisement.pools.end()) {
      item.fail("duplicate definition of pool " + in_quotes(std::string_view(pool)) + ": remove one");
    }
    advertisement.pools.push_back(pool);
  }
  advertisement.pool_selectors = read_selectors(spec["ipAddressPoolSelectors"]);
  advertisement.node_selectors = read_selectors(spec["nodeSelectors"]);
  advertisement.service_selectors = read_selectors(spec["serviceSelectors"]);
  for (const Field& item : spec["preferredNodeSelectors"].items()) {
    item.only({"weight", "preference"});
    PreferredNodes preferred;
    if (!item["weight"].present()) item["weight"].fail("missing: a whole number from 1 to 100");
    preferred.weight = static_cast<std::int32_t>(item["weight"].integer(1, 100, 1));
    if (!item["preference"].present()) item["preference"].fail("missing: a label selector");
    preferred.preference = read_selector(item["preference"]);
    advertisement.preferred_nodes.push_back(std::move(preferred));
  }
  advertisement.interfaces = spec["interfaces"].texts();
  return advertisement;
}

}  // namespace xlb
