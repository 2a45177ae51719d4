// SPDX-License-Identifier: Apache-2.0
// What this machine looks like, asked by netlink (rtnetlink): links, addresses, routes, and where a backend's
// address is to be found: route -> bridge -> neighbour -> forwarding database -> veth, or the veth itself.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct InterfaceFacts {
  std::uint32_t ifindex = 0;
  std::string name;
  std::string kind;            // "veth", "bridge", "vlan", "" for hardware
  std::uint32_t master = 0;    // bridge or bond it is a port of
  std::string master_name;
  std::string master_kind;
  std::uint32_t link = 0;      // of a VLAN: the interface below it
  std::uint16_t vlan = 0;
  Mac mac;
  std::uint32_t mtu = 0;
  bool up = false;
  bool carrier = false;
  bool loopback = false;
};

// `previous`: places found before; a place whose veth still exists on the same bridge with the same MAC is kept although
// the forwarding database has forgotten it (our own redirects starve the bridge's learning).
class Netlink {
 public:
  static Result<std::unique_ptr<Netlink>> open();
  virtual ~Netlink() = default;

  virtual Result<std::vector<InterfaceFacts>> interfaces() = 0;
  virtual Result<std::optional<InterfaceFacts>> interface(const std::string& name) = 0;
  // Attach interface -> one Link for itself and one for each VLAN device above it.
  virtual Result<std::vector<Link>> links(const std::vector<std::string>& attached) = 0;
  virtual Result<std::set<Address>> own_addresses() = 0;
  virtual Result<Places> find_places(const std::vector<Address>& addresses, const Places& previous) = 0;
  // What the kernel's neighbour table holds; nobody is asked.
  virtual Result<std::optional<Mac>> neighbour(std::uint32_t ifindex, const Address& address) = 0;
  // Asks the kernel to resolve the neighbour (RTM_NEWNEIGH with NTF_USE), so that find_places() succeeds soon.
  virtual Result<void> probe_neighbour(const Address& address) = 0;

  // For the loop: readable when something changed (links, addresses, routes, neighbours, forwarding database).
  [[nodiscard]] virtual int change_fd() const = 0;
  // Reads all that is queued; true: something changed that matters to links(), own_addresses() or find_places().
  virtual bool drain_changes() = 0;
};

}  // namespace xlb
