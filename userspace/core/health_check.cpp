// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/health_check.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace xlb {

namespace {

constexpr std::size_t kPathMost = 512;  // characters

std::optional<std::uint16_t> number(std::string_view text, std::uint16_t least, std::uint16_t most) {
  std::uint16_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
  return value;
}

}  // namespace

std::string HealthCheck::text() const {
  std::string text = kind == Kind::tcp ? "tcp" : "http:";
  if (port != 0) text += (kind == Kind::tcp ? ":" : "") + std::to_string(port);
  text += path;
  if (status != 0) text += ":" + std::to_string(status);
  return text;
}

Result<HealthCheck> parse_health_check(std::string_view text) {
  const auto wrong = [&](const std::string& why) {
    return Error{"\"" + std::string(text) + "\": " + why + ": write tcp, tcp:PORT, http:/PATH or http:PORT/PATH:STATUS"};
  };
  HealthCheck check;
  const auto colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  std::string_view rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (kind == "tcp") {
    if (colon == std::string_view::npos) return check;
    const auto port = number(rest, 1, 65535);
    if (!port) return wrong("the port is not one of 1 to 65535");
    check.port = *port;
    return check;
  }
  if (kind != "http") return wrong("a backend is asked by tcp or http");
  check.kind = HealthCheck::Kind::http;
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return wrong("the path is missing");
  if (slash != 0) {
    const auto port = number(rest.substr(0, slash), 1, 65535);
    if (!port) return wrong("the port is not one of 1 to 65535");
    check.port = *port;
  }
  std::string_view path = rest.substr(slash);
  // A colon with three digits behind it at the very end is the status; any other belongs to the path.
  if (const auto last = path.rfind(':'); last != std::string_view::npos && path.size() - last == 4) {
    if (const auto digits = path.substr(last + 1);
        std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      const auto status = number(digits, 100, 599);
      if (!status) return wrong("the status is not one of 100 to 599");
      check.status = *status;
      path = path.substr(0, last);
    }
  }
  if (path.size() > kPathMost) return wrong("the path is longer than " + std::to_string(kPathMost) + " characters");
  if (!std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 0x7f; }))
    return wrong("the path has a character that no URL has");
  check.path = path;
  return check;
}

HealthTarget health_target(const HealthCheck& check, const Address& backend, std::uint16_t port) {
  HealthTarget target{backend, check.port == 0 ? port : check.port, check};
  target.check.port = 0;
  return target;
}

std::string HealthTarget::text() const {
  const std::string host = address.family() == Family::ipv4 ? address.text() : "[" + address.text() + "]";
  return "health probe " + check.text() + " of " + host + ":" + std::to_string(port);
}

}  // namespace xlb
