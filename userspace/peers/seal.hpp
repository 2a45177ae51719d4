// SPDX-License-Identifier: Apache-2.0
// Whether bytes come from somebody with the cluster's key: HMAC-SHA256 (RFC 2104), made ready once and used often.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "userspace/peers/key.hpp"

struct evp_mac_ctx_st;

namespace xlb {

class Seal {
 public:
  static constexpr std::size_t kTagBytes = 32;
  using Tag = std::array<std::uint8_t, kTagBytes>;

  static Result<Seal> of(const ClusterKey& key);

  [[nodiscard]] Result<Tag> tag(std::span<const std::uint8_t> bytes) const;
  // In constant time; false also where OpenSSL fails.
  [[nodiscard]] bool holds(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> tag) const;
  [[nodiscard]] std::uint32_t fingerprint() const { return fingerprint_; }

 private:
  struct Free {
    void operator()(evp_mac_ctx_st* context) const;
  };
  Seal(std::unique_ptr<evp_mac_ctx_st, Free> context, std::uint32_t fingerprint)
      : context_(std::move(context)), fingerprint_(fingerprint) {}
  std::unique_ptr<evp_mac_ctx_st, Free> context_;
  std::uint32_t fingerprint_;
};

}  // namespace xlb
