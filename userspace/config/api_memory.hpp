// SPDX-License-Identifier: Apache-2.0
// What an API server declared last, kept on this node: after a power cut the node serves it before the server is back, and
// commands see it without asking anybody. <config-dir>/api.json, versioned, with a checksum, replaced atomically, owner-only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "userspace/core/result.hpp"
#include "userspace/core/sources.hpp"

namespace xlb {

// `boot`: of which start of this machine these facts are (boot_id()). A pod's address is anybody's after a reboot, so
// facts of an earlier one come without endpoints but those at a node's own address: pods wait until the server confirms
// them. Absent: there is no such file.
Result<std::optional<ApiFacts>> read_api_memory(const std::filesystem::path& file, const std::string& boot);
Result<void> write_api_memory(const std::filesystem::path& file, const ApiFacts& facts, const std::string& boot);
Result<void> forget_api_memory(const std::filesystem::path& file);

std::string boot_id();  // /proc/sys/kernel/random/boot_id; empty where there is none

// The file's text.
std::string encode_api_memory(const ApiFacts& facts, const std::string& boot);
Result<ApiFacts> decode_api_memory(std::string_view text, const std::string& boot);

}  // namespace xlb
