// SPDX-License-Identifier: Apache-2.0
// Says "skipped" to ctest (exit code 77) when not one of the chosen tests could run.
#include <gtest/gtest.h>

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  const int result = RUN_ALL_TESTS();
  const auto* unit = testing::UnitTest::GetInstance();
  const bool none_ran = unit->test_to_run_count() != 0 && unit->skipped_test_count() == unit->test_to_run_count();
  return result == 0 && none_ran ? 77 : result;
}
