// SPDX-License-Identifier: Apache-2.0
// Lines are past-tense facts with keys from the words of the house: `vip taken vip=192.168.0.200 links=eth0`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/core/result.hpp"

namespace spdlog {
class logger;
}

namespace xlb {

enum class Severity : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

class Log {
 public:
  using Facts = std::vector<std::pair<std::string, std::string>>;

  Log(Severity least, LogFormat format);  // writes to standard error
  void say(Severity severity, std::string_view fact, const Facts& facts = {}) const;

 private:
  std::shared_ptr<spdlog::logger> logger_;
  LogFormat format_;
};

// One line without the time: what say() hands on.
std::string log_line(LogFormat format, std::string_view fact, const Log::Facts& facts);

Result<Severity> parse_severity(std::string_view text);   // "debug", "info", "warning", "error"
Result<LogFormat> parse_log_format(std::string_view text);  // "text", "json"

}  // namespace xlb
