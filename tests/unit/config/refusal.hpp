// SPDX-License-Identifier: Apache-2.0
// What parse_manifests() says about a text.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "userspace/config/manifests.hpp"

namespace xlb {

// The error, or "accepted".
inline std::string refusal(const std::string& yaml) {
  const auto parsed = parse_manifests(yaml, "in.yaml");
  return parsed ? "accepted" : parsed.error().text;
}

inline ParsedManifests accepted(const std::string& yaml) {
  auto parsed = parse_manifests(yaml, "in.yaml");
  EXPECT_TRUE(parsed) << parsed.error().text;
  return parsed ? *parsed : ParsedManifests{};
}

}  // namespace xlb
