// SPDX-License-Identifier: Apache-2.0
// Whether bytes come from somebody with the cluster's key: HMAC-SHA256 (RFC 2104), made ready once and used often.
#pragma once

#include <nettle/hmac.h>

#include <array>
#include <cstdint>
#include <span>

#include "userspace/peers/key.hpp"

namespace xlb {

class Seal {
 public:
  static constexpr std::size_t kTagBytes = SHA256_DIGEST_SIZE;
  using Tag = std::array<std::uint8_t, kTagBytes>;

  explicit Seal(const ClusterKey& key);

  [[nodiscard]] Tag tag(std::span<const std::uint8_t> bytes) const;
  // In constant time.
  [[nodiscard]] bool holds(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> tag) const;
  [[nodiscard]] std::uint32_t fingerprint() const { return fingerprint_; }

 private:
  hmac_sha256_ctx keyed_;
  std::uint32_t fingerprint_;
};

}  // namespace xlb
