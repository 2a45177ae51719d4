// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/digest.hpp"

#include <openssl/evp.h>

#include "userspace/peers/openssl_error.hpp"

namespace xlb {

Result<Digest> sha256(std::string_view text) {
  Digest digest{};
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1 ||
      length != digest.size())
    return openssl_error("SHA-256");
  return digest;
}

Result<Digest> rank_digest(const std::string& node, const Address& first) {
  return sha256(node + "#" + first.text());
}

}  // namespace xlb
