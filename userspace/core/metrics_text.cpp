// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/metrics_text.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace xlb {

namespace {

// In a label's value: backslash, quote and newline. In a help text a quote stands for itself.
std::string escaped(std::string_view text, bool quotes) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (c == '\\')
      result += "\\\\";
    else if (c == '\n')
      result += "\\n";
    else if (c == '"' && quotes)
      result += "\\\"";
    else
      result += c;
  }
  return result;
}

}  // namespace

void MetricsText::family(std::string_view name, Kind kind, std::string_view help) {
  family_ = name;
  text_ += "# HELP " + family_ + " " + escaped(help, false) + "\n";
  text_ += "# TYPE " + family_ + (kind == Kind::counter ? " counter\n" : " gauge\n");
}

void MetricsText::sample(const Labels& labels, std::uint64_t value) { line(labels, std::to_string(value)); }

void MetricsText::sample(const Labels& labels, double value) {
  if (std::isnan(value)) return line(labels, "NaN");
  if (std::isinf(value)) return line(labels, value > 0 ? "+Inf" : "-Inf");
  std::array<char, 32> digits{};  // the shortest that reads as the same number
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  line(labels, std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

void MetricsText::line(const Labels& labels, std::string_view value) {
  text_ += family_;
  char before = '{';
  for (const auto& [name, content] : labels) {
    text_ += before;
    text_ += name;
    text_ += "=\"" + escaped(content, true) + "\"";
    before = ',';
  }
  if (before == ',') text_ += '}';
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

}  // namespace xlb
