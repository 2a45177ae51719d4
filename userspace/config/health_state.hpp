// SPDX-License-Identifier: Apache-2.0
// Which backends were found ill: <run-dir>/health.json, written by the daemon that asks them and read by each pass, so that
// commands, the next daemon and who looks at `status` know what it knew. Gone after a reboot, as it should be.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "userspace/core/health_check.hpp"

namespace xlb {

using IllBackends = std::map<HealthTarget, std::string>;  // and how

// A missing file: nobody is. A damaged one is an error.
Result<IllBackends> read_health(const std::filesystem::path& file);
Result<void> write_health(const std::filesystem::path& file, const IllBackends& ill);

}  // namespace xlb
