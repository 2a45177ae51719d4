// SPDX-License-Identifier: Apache-2.0
// What is in the way, said once however many suffer from it and however often they try.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace xlb {

class Troubles {
 public:
  // What stands before the first ": " is the trouble, what follows is how it shows this time.
  void report(std::size_t who, const std::string& sentence);
  void over(std::size_t who);
  std::vector<std::string> take();  // new sentences
  [[nodiscard]] bool waiting() const { return !sentences_.empty(); }

 private:
  [[nodiscard]] bool suffered(const std::string& trouble) const;
  std::map<std::size_t, std::set<std::string>> by_who_;
  std::vector<std::string> sentences_;
};

}  // namespace xlb
