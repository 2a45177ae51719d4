// SPDX-License-Identifier: Apache-2.0
// Network namespaces of a test's own, gone with it.
#pragma once

#include <string>

#include "loader/file.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

class NetworkSpace {
 public:
  // The calling thread moves into a new namespace and stays there.
  static Result<NetworkSpace> enter();
  // A new one beside it.
  static Result<NetworkSpace> make();

  // Shell commands inside, stopping at the first that fails; the error holds what was printed.
  [[nodiscard]] Result<void> run(const std::string& commands) const;
  // The same, for what they print.
  [[nodiscard]] Result<std::string> output(const std::string& commands) const;
  // For `ip link … netns`: the path holds in commands run by run().
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(space_.get()); }

 private:
  explicit NetworkSpace(File space) : space_(std::move(space)) {}
  static Result<NetworkSpace> of_this_thread();
  File space_;
};

}  // namespace xlb
