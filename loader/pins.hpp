// SPDX-License-Identifier: Apache-2.0
// The pin directory: where it may be, what lies in it, and how it goes again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loader/file.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

class Pins {
 public:
  explicit Pins(std::string folder);

  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] std::string tables() const;  // of this binary's ABI
  [[nodiscard]] std::string programs() const { return folder_ + "/programs"; }
  [[nodiscard]] std::string links() const { return folder_ + "/links"; }
  [[nodiscard]] std::string xdp_link(std::uint32_t ifindex) const;

  // The folder is made; it has to be on a bpf filesystem. What had to be mounted for that is said: empty, or "mounted
  // a bpf filesystem on /sys/fs/bpf".
  [[nodiscard]] Result<std::string> prepare() const;
  // Folders of tables that belong to other ABI versions: "v2".
  [[nodiscard]] Result<std::vector<std::string>> other_abis() const;
  // The folder and everything in it; its parents stay.
  [[nodiscard]] Result<void> remove_all() const;

 private:
  std::string folder_;
};

// Names in a folder, sorted; a folder that is not there is empty.
Result<std::vector<std::string>> list_folder(const std::string& folder);
bool exists(const std::string& path);
// Takes a pin or a folder with all its pins away; it need not be there.
Result<void> remove_pin(const std::string& path);
Result<void> make_folder(const std::string& path);
Result<void> rename_pin(const std::string& from, const std::string& to);
// Opens the program or table pinned there, for its descriptor.
Result<File> open_pin(const std::string& path);
// Pins, replacing what was pinned under that name: the link itself is never unheld in between.
Result<void> pin_object(int object, const std::string& path);

}  // namespace xlb
