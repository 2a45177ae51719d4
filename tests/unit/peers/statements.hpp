// SPDX-License-Identifier: Apache-2.0
// Statements for tests: one with a bit of everything, and any number of random ones within the bounds.
#pragma once

#include <gtest/gtest.h>

#include <random>

#include "userspace/core/statement.hpp"
#include "userspace/peers/assembly.hpp"

namespace xlb::test {

Address address(const std::string& text);
Statement some_statement();
// `most_vips`: at most so many VIPs.
Statement random_statement(std::mt19937_64& random, std::size_t most_vips);
// As large as the bounds of statement.hpp allow.
Statement largest_statement();

ClusterKey key(std::uint8_t fill);
Seal seal(std::uint8_t fill);  // of that key
Assembly assembly(const std::string& own_name, std::optional<Seal> seal);

}  // namespace xlb::test
