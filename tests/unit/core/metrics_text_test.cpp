// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/metrics_text.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace xlb {
namespace {

TEST(MetricsTextTest, AFamilyIsSaidOnceAndItsSamplesFollow) {
  MetricsText metrics;
  metrics.family("xdp_lb_packets_total", MetricsText::Kind::counter, "Packets.");
  metrics.sample({{"verdict", "to_pod"}}, std::uint64_t{18446744073709551615u});
  metrics.sample({{"verdict", "error"}, {"node", "pi1"}}, std::uint64_t{0});
  metrics.family("xdp_lb_seconds", MetricsText::Kind::gauge, "Time.");
  metrics.sample({}, 0.25);
  metrics.sample(std::uint64_t{7});
  EXPECT_EQ(metrics.text(),
            "# HELP xdp_lb_packets_total Packets.\n"
            "# TYPE xdp_lb_packets_total counter\n"
            "xdp_lb_packets_total{verdict=\"to_pod\"} 18446744073709551615\n"
            "xdp_lb_packets_total{verdict=\"error\",node=\"pi1\"} 0\n"
            "# HELP xdp_lb_seconds Time.\n"
            "# TYPE xdp_lb_seconds gauge\n"
            "xdp_lb_seconds 0.25\n"
            "xdp_lb_seconds 7\n");
}

TEST(MetricsTextTest, WhatWouldBreakALineIsEscaped) {
  MetricsText metrics;
  metrics.family("x", MetricsText::Kind::gauge, "a \\ \"b\"\nc");
  metrics.sample({{"name", "a \\ \"b\"\nc"}}, std::uint64_t{1});
  EXPECT_EQ(metrics.text(),
            "# HELP x a \\\\ \"b\"\\nc\n"
            "# TYPE x gauge\n"
            "x{name=\"a \\\\ \\\"b\\\"\\nc\"} 1\n");
}

TEST(MetricsTextTest, NumbersThatAreNone) {
  MetricsText metrics;
  metrics.family("x", MetricsText::Kind::gauge, "");
  metrics.sample({}, std::numeric_limits<double>::infinity());
  metrics.sample({}, -std::numeric_limits<double>::infinity());
  metrics.sample({}, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(metrics.text(), "# HELP x \n# TYPE x gauge\nx +Inf\nx -Inf\nx NaN\n");
}

}  // namespace
}  // namespace xlb
