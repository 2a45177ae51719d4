// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format, version 0.0.4: families of samples, each with HELP and TYPE before it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xlb {

class MetricsText {
 public:
  enum class Kind : std::uint8_t { counter, gauge };
  using Labels = std::vector<std::pair<std::string_view, std::string>>;

  // Samples that follow belong to it. A family is begun once, and its samples come together.
  void family(std::string_view name, Kind kind, std::string_view help);
  void sample(const Labels& labels, std::uint64_t value);
  void sample(const Labels& labels, double value);
  void sample(std::uint64_t value) { sample({}, value); }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void line(const Labels& labels, std::string_view value);
  std::string family_;
  std::string text_;
};

}  // namespace xlb
