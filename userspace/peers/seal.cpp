// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/seal.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "userspace/peers/openssl_error.hpp"

namespace xlb {

void Seal::Free::operator()(evp_mac_ctx_st* context) const {
  EVP_MAC_CTX_free(context);
}

Result<Seal> Seal::of(const ClusterKey& key) {
  auto fingerprint = key_fingerprint(key);
  if (!fingerprint) return fingerprint.error();
  EVP_MAC* algorithm = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  if (!algorithm) return openssl_error("HMAC");
  std::unique_ptr<evp_mac_ctx_st, Free> context(EVP_MAC_CTX_new(algorithm));
  EVP_MAC_free(algorithm);  // the context holds it
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  if (!context || EVP_MAC_init(context.get(), key.bytes.data(), key.bytes.size(), parameters) != 1)
    return openssl_error("HMAC");
  return Seal(std::move(context), *fingerprint);
}

Result<Seal::Tag> Seal::tag(std::span<const std::uint8_t> bytes) const {
  Tag tag{};
  std::size_t length = 0;
  // Without a key the context starts anew with the one that it has.
  if (EVP_MAC_init(context_.get(), nullptr, 0, nullptr) != 1 ||
      EVP_MAC_update(context_.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_MAC_final(context_.get(), tag.data(), &length, tag.size()) != 1 || length != tag.size())
    return openssl_error("HMAC");
  return tag;
}

bool Seal::holds(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> tag) const {
  const auto wanted = this->tag(bytes);
  return wanted && tag.size() == wanted->size() && CRYPTO_memcmp(wanted->data(), tag.data(), tag.size()) == 0;
}

}  // namespace xlb
