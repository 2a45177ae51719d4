// SPDX-License-Identifier: Apache-2.0
// Services and backends as tables, from the documents of view.hpp.
#pragma once

#include <iosfwd>

#include "userspace/cli/render.hpp"

namespace xlb {

void print_services(std::ostream& out, const Json& services, bool wide);
void print_backends(std::ostream& out, const Json& services, bool wide);

}  // namespace xlb
