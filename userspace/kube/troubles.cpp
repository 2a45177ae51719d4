// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/troubles.hpp"

#include <algorithm>
#include <utility>

namespace xlb {

bool Troubles::suffered(const std::string& trouble) const {
  return std::any_of(by_who_.begin(), by_who_.end(),
                     [&](const auto& entry) { return entry.second.contains(trouble); });
}

void Troubles::report(std::size_t who, const std::string& sentence) {
  const std::string trouble = sentence.substr(0, sentence.find(": "));
  if (!suffered(trouble)) sentences_.push_back(sentence);
  by_who_[who].insert(trouble);
}

void Troubles::over(std::size_t who) {
  const auto found = by_who_.find(who);
  if (found == by_who_.end()) return;
  const std::set<std::string> troubles = std::move(found->second);
  by_who_.erase(found);
  for (const std::string& trouble : troubles) {
    if (!suffered(trouble)) sentences_.push_back("this is over: " + trouble);
  }
}

std::vector<std::string> Troubles::take() {
  return std::exchange(sentences_, {});
}

}  // namespace xlb
