// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/seal.hpp"

#include <nettle/memops.h>

namespace xlb {

Seal::Seal(const ClusterKey& key) : fingerprint_(key_fingerprint(key)) {
  hmac_sha256_set_key(&keyed_, key.bytes.size(), key.bytes.data());
}

Seal::Tag Seal::tag(std::span<const std::uint8_t> bytes) const {
  Tag tag;
  hmac_sha256_ctx context = keyed_;
  hmac_sha256_update(&context, bytes.size(), bytes.data());
  hmac_sha256_digest(&context, tag.size(), tag.data());
  return tag;
}

bool Seal::holds(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> tag) const {
  const Tag wanted = this->tag(bytes);
  return tag.size() == wanted.size() && memeql_sec(wanted.data(), tag.data(), tag.size()) != 0;
}

}  // namespace xlb
