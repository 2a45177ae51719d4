// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/lines.hpp"

#include <algorithm>

namespace xlb {

Lines::Fed Lines::feed(std::string_view bytes, const std::function<bool(std::string_view)>& line) {
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    if (held_.size() + end > longest_) return Fed::too_long;
    if (end == bytes.size()) {
      held_ += bytes;
      return Fed::all;
    }
    std::string_view whole = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    if (!held_.empty()) {
      held_ += whole;
      whole = held_;
    }
    if (whole.ends_with('\r')) whole.remove_suffix(1);
    const bool more = whole.empty() || line(whole);
    // A line of megabytes is rare: its memory is not kept for the next.
    if (held_.capacity() > 64 * 1024) {
      std::string().swap(held_);
    } else {
      held_.clear();
    }
    if (!more) return Fed::stopped;
  }
  return Fed::all;
}

}  // namespace xlb
