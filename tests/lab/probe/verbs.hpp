// SPDX-License-Identifier: Apache-2.0
// The verbs of the probe. Each runs until SIGTERM or for `seconds`, then returns what it prints.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace xlb::probe {

// One new flow after the other, whether those before were answered or not.
struct NewFlows {
  std::string to;
  std::uint16_t port = 80;
  bool udp = false;
  std::int64_t every_us = 1000;
  std::int64_t timeout_ms = 500;  // shorter than the kernel's first retransmission (1 s): a flow is one packet's luck
  double seconds = 600;
};
nlohmann::json run(const NewFlows& options);

// Connections that stay, each sending a byte at intervals and expecting it back.
struct Held {
  std::string to;
  std::uint16_t port = 80;
  std::size_t connections = 200;
  std::int64_t every_ms = 100;
  std::int64_t grace_ms = 20000;  // how long the last bytes may take before a connection counts as silent
  double seconds = 600;
};
nlohmann::json run(const Held& options);

// Asks by ARP for an address at intervals, and tells who answered which request.
struct Asked {
  std::string about;
  std::string sender;  // an address of the host's
  std::string interface = "eth0";
  std::int64_t every_ms = 10;
  double seconds = 600;
};
nlohmann::json run(const Asked& options);

// The server: says its name to whoever connects, then sends everything back; the same by UDP, name and data at once.
struct Echo {
  std::uint16_t port = 9000;
  std::string name;
};
nlohmann::json run(const Echo& options);

}  // namespace xlb::probe
