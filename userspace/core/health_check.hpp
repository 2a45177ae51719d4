// SPDX-License-Identifier: Apache-2.0
// How a backend is asked whether it is well, where nobody else says: a TCP connection, or a page by HTTP.
//
//   tcp                    a connection to the backend's own port
//   tcp:8080               to another port of it
//   http:/ready            GET /ready there, answered with a status of 200 to 399
//   http:8080/ready:204    on another port, answered with this very status
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace/core/address.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct HealthCheck {
  enum class Kind : std::uint8_t { tcp, http };
  Kind kind = Kind::tcp;
  std::uint16_t port = 0;    // 0: the backend's
  std::string path;          // of HTTP, with the slash
  std::uint16_t status = 0;  // of HTTP; 0: 200 to 399
  [[nodiscard]] std::string text() const;
  auto operator<=>(const HealthCheck&) const = default;
};

Result<HealthCheck> parse_health_check(std::string_view text);

// One question to one backend. Services and ports that ask the same share the answer.
struct HealthTarget {
  Address address;
  std::uint16_t port = 0;
  HealthCheck check;  // its port is 0: it stands above
  [[nodiscard]] std::string text() const;  // "health probe http:/ready of 10.42.0.8:8080"
  auto operator<=>(const HealthTarget&) const = default;
};
HealthTarget health_target(const HealthCheck& check, const Address& backend, std::uint16_t port);

}  // namespace xlb
