// SPDX-License-Identifier: Apache-2.0
// The key that the nodes of a cluster share. Who holds it is a peer. It lives in a file that only its owner may read,
// as one line that also survives being copied by hand:
//
//   xlb1-3f9a01c2-…-5e77d0a4-9be1c204     32 random bytes and a check of four, in groups of eight hexadecimal digits
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/core/result.hpp"

namespace xlb {

struct ClusterKey {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const ClusterKey&) const = default;
};

Result<ClusterKey> make_key();

std::string key_text(const ClusterKey& key);  // without a line end
// Blanks, line ends, dashes and the case of digits do not matter; a digit that was misread does.
Result<ClusterKey> parse_key(std::string_view text);

// Says which key it is, to anybody, without giving it away: two nodes with the same fingerprint have the same key.
// Never 0.
std::uint32_t key_fingerprint(const ClusterKey& key);
std::string fingerprint_text(std::uint32_t fingerprint);  // "5e77d0a4"

// Absent: there is no such file. Refused: malformed, not a plain file, or open to others than its owner and root.
Result<std::optional<ClusterKey>> read_key(const std::filesystem::path& file);
// Whole or not at all, mode 0600. `replace`: false refuses when there is a file already.
Result<void> write_key(const std::filesystem::path& file, const ClusterKey& key, bool replace);

}  // namespace xlb
