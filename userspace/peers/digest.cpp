// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/digest.hpp"

#include <nettle/sha2.h>

namespace xlb {

Digest sha256(std::string_view text) {
  Digest digest;
  static_assert(sizeof digest == SHA256_DIGEST_SIZE);
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, text.size(), reinterpret_cast<const std::uint8_t*>(text.data()));
  sha256_digest(&context, digest.size(), digest.data());
  return digest;
}

Digest rank_digest(const std::string& node, const Address& first) {
  return sha256(node + "#" + first.text());
}

}  // namespace xlb
