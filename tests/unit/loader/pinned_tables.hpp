// SPDX-License-Identifier: Apache-2.0
// The real map definitions, pinned on a bpf filesystem of this process's own; no program is loaded.
#pragma once

#include <cstdint>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

struct PinnedSizes {
  std::uint32_t services = 64;
  std::uint32_t backends = 16384;
  std::uint32_t slots = 65536;
  std::uint32_t sources = 1024;
  std::uint32_t flows = 16384;
};

class PinnedTables {
 public:
  // A filesystem without a pin.
  static Result<PinnedTables> make();
  PinnedTables(PinnedTables&& other) noexcept;
  PinnedTables(const PinnedTables&) = delete;
  PinnedTables& operator=(const PinnedTables&) = delete;
  ~PinnedTables();

  Result<void> pin(const PinnedSizes& sizes = {}) const;
  [[nodiscard]] std::string pin_dir() const { return mount_ + "/xdp-lb"; }
  [[nodiscard]] std::string folder() const;

 private:
  explicit PinnedTables(std::string mount) : mount_(std::move(mount)) {}
  std::string mount_;
};

}  // namespace xlb
