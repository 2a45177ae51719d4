// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

namespace xlb {

namespace {

spdlog::level::level_enum level(Severity severity) {
  switch (severity) {
    case Severity::debug: return spdlog::level::debug;
    case Severity::info: return spdlog::level::info;
    case Severity::warning: return spdlog::level::warn;
    case Severity::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Blanks, quotes and control characters put a value into quotes, so that a line can be taken apart again.
std::string quoted_if_needed(const std::string& value) {
  const bool plain = !value.empty() && value.find_first_of(" \t\n\r\"=\\") == std::string::npos;
  return plain ? value : nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string log_line(LogFormat format, std::string_view fact, const Log::Facts& facts) {
  if (format == LogFormat::text) {
    std::string line(fact);
    for (const auto& [key, value] : facts) line += " " + key + "=" + quoted_if_needed(value);
    return line;
  }
  nlohmann::ordered_json json{{"fact", fact}};
  for (const auto& [key, value] : facts) json[key] = value;
  // Without its opening brace: the logger's pattern puts time and level in front.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(1);
}

Log::Log(Severity least, LogFormat format) : format_(format) {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_st>();
  logger_ = std::make_shared<spdlog::logger>("xdp-lb", std::move(sink));
  logger_->set_level(level(least));
  logger_->flush_on(spdlog::level::debug);
  logger_->set_pattern(format == LogFormat::text ? "%Y-%m-%dT%H:%M:%S.%e%z %l %v"
                                                 : R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v)");
}

void Log::say(Severity severity, std::string_view fact, const Facts& facts) const {
  if (!logger_->should_log(level(severity))) return;
  logger_->log(level(severity), spdlog::string_view_t(log_line(format_, fact, facts)));
}

Result<Severity> parse_severity(std::string_view text) {
  if (text == "debug") return Severity::debug;
  if (text == "info") return Severity::info;
  if (text == "warning") return Severity::warning;
  if (text == "error") return Severity::error;
  return Error{"log level \"" + std::string(text) + "\": expected debug, info, warning or error"};
}

Result<LogFormat> parse_log_format(std::string_view text) {
  if (text == "text") return LogFormat::text;
  if (text == "json") return LogFormat::json;
  return Error{"log format \"" + std::string(text) + "\": expected text or json"};
}

}  // namespace xlb
