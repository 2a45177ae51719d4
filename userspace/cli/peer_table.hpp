// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>

#include "userspace/cli/render.hpp"

namespace xlb {

// `peers`: documents of peers_json().
void print_peers(std::ostream& out, const Json& peers, bool wide);

}  // namespace xlb
