// SPDX-License-Identifier: Apache-2.0
// Credentials with their files read: what a connection needs, at this moment.
#pragma once

#include <string>

#include "userspace/core/api_credentials.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct Identity {
  std::string url;         // what paths are put behind; its host is the name that the certificate is checked for
  std::string connect_to;  // "::10.0.0.1:6443" where that is not where the server is; empty: it is
  std::string proxy;
  bool verify = true;
  std::string ca, certificate, key;  // PEM; empty: none
  std::string token;
  auto operator<=>(const Identity&) const = default;
};

// Refused with a sentence: a file that is not there or says nothing, a key without its certificate, a URL that is
// none, secrets that would travel in the clear.
Result<Identity> load_identity(const ApiCredentials& credentials);

}  // namespace xlb
