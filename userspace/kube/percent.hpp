// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace xlb {

// As it stands in a query (RFC 3986, 2.3).
std::string percent_encoded(std::string_view text);

}  // namespace xlb
