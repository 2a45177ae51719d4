// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/err.h>

#include <array>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

// "SHA-256: error:0308010C:digital envelope routines::unsupported"; empties OpenSSL's queue of errors.
inline Error openssl_error(const std::string& doing) {
  std::array<char, 256> text{"OpenSSL does not say why"};
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return Error{doing + ": " + text.data()};
}

}  // namespace xlb
