// SPDX-License-Identifier: Apache-2.0
// A stream of bytes as its lines, whatever pieces it comes in.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace xlb {

class Lines {
 public:
  explicit Lines(std::size_t longest) : longest_(longest) {}

  enum class Fed { all, stopped, too_long };
  // Each line that is complete, without its end and never empty. `line` returns false to hear no more of these bytes.
  Fed feed(std::string_view bytes, const std::function<bool(std::string_view)>& line);
  [[nodiscard]] std::size_t held() const { return held_.size(); }  // bytes of a line that has not ended

 private:
  std::size_t longest_;
  std::string held_;
};

}  // namespace xlb
