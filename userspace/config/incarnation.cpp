// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/incarnation.hpp"

#include <nlohmann/json.hpp>

#include "userspace/config/folder.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {

namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMaxBytes = 4096;
constexpr unsigned kMode = 0600;
constexpr std::uint64_t kJump = std::uint64_t{1} << 32;  // more than any counter has reached by counting: four million starts

Result<std::uint64_t> decode(std::string_view text) {
  auto content = unseal(kVersion, text, "the number jumps ahead, nothing else is lost");
  if (!content) return content.error();
  if (!content->is_number_unsigned()) return Error{"damaged: no number"};
  return content->get<std::uint64_t>();
}

}  // namespace

Result<Incarnation> next_incarnation(const std::filesystem::path& file, std::uint64_t chance) {
  DiskFolder folder(file.parent_path(), kMode);
  const std::string name = file.filename().string();
  auto text = folder.read(name, kMaxBytes);
  if (!text) return text.error();
  Incarnation next;
  if (*text) {
    if (auto last = decode(**text); last) {
      next.number = *last;
    } else {
      next.damage = last.error().in(file.string()).text;
      next.number = kJump + (chance >> 2);
      if (auto renamed = folder.rename(name, name + ".damaged"); !renamed) return renamed.error();
    }
  }
  const std::uint64_t last = next.number++ + kIncarnationsInARow;
  if (auto written = replace_file(folder, name, seal(kVersion, last)); !written) return written.error();
  return next;
}

}  // namespace xlb
