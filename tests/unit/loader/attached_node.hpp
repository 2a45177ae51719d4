// SPDX-License-Identifier: Apache-2.0
// A node to attach to, of the test's own: lan0 and lan1 lead to another namespace, pod0 and pod1 to pods behind a
// bridge; a bpf filesystem and a control group beside it. Everything goes with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "loader/kernel_data_plane.hpp"
#include "tests/unit/loader/network_space.hpp"
#include "tests/unit/loader/pinned_tables.hpp"

namespace xlb {

// A program that gives this answer to every packet.
Result<File> foreign_program(bool xdp, int answer, const std::string& name);

class AttachedNode : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  void run(const std::string& commands) const;
  [[nodiscard]] std::string output(const std::string& commands) const;
  [[nodiscard]] std::uint32_t ifindex(const std::string& name) const;
  // Everything that attaching could change.
  [[nodiscard]] std::string everything() const;
  // The lines that only one of two such texts has; empty: they are the same.
  static std::string difference(const std::string& before, const std::string& after);
  [[nodiscard]] std::string filters(const std::string& interface) const;

  [[nodiscard]] DataPlane& plane() const { return *plane_; }
  AttachedLink attach(const std::string& interface, AttachMode mode = AttachMode::tc);
  // The sentence with which it is refused; everything is as before.
  std::string refusal(const AttachRequest& request);
  [[nodiscard]] std::string pin_dir() const { return pins_->pin_dir(); }
  // Of this build's ABI version.
  [[nodiscard]] std::string tables_folder() const { return pins_->folder(); }
  // A control group of the test's own; empty: this machine has no cgroup v2.
  std::string make_cgroup();
  static unsigned programs_at(const std::string& cgroup);
  static std::uint32_t pinned_map(const std::string& path);

 private:
  std::optional<NetworkSpace> node_, far_;
  std::optional<PinnedTables> pins_;
  std::unique_ptr<DataPlane> plane_;
  std::string cgroup_;
};

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace xlb
