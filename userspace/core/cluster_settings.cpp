// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/cluster_settings.hpp"

namespace xlb {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::string text(nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<milliseconds>(time).count()) + " ms";
}

}  // namespace

ClusterSettings ClusterSettings::fast() {
  ClusterSettings settings;
  settings.echo_interval = milliseconds(10);
  return settings;
}

std::vector<std::string> validate(const ClusterSettings& settings) {
  std::vector<std::string> wrong;
  const auto demand = [&](bool holds, const std::string& sentence) {
    if (!holds) wrong.push_back(sentence);
  };
  demand(settings.echo_interval >= milliseconds(5) && settings.echo_interval <= seconds(1),
         "the echo interval is " + text(settings.echo_interval) +
             ": give 5 ms to 1 s; below, the scheduler of a busy machine looks like a dead peer");
  demand(settings.misses >= 2 && settings.misses <= 10,
         "a peer is lost after " + std::to_string(settings.misses) +
             " missed echoes: give 2 to 10; one is lost by chance too often");
  demand(settings.statement_interval >= milliseconds(50) && settings.statement_interval <= seconds(5),
         "the statement interval is " + text(settings.statement_interval) + ": give 50 ms to 5 s");
  demand(settings.stale_age >= 3 * settings.statement_interval,
         "a statement is stale after " + text(settings.stale_age) + ", but comes only every " +
             text(settings.statement_interval) + ": give at least three times that, or a lost frame takes VIPs away");
  demand(settings.stale_age >= settings.detection() + settings.statement_interval,
         "a statement is stale after " + text(settings.stale_age) + ", before a peer is found lost by its echoes (" +
             text(settings.detection()) + ") and could state itself once more: raise it, or send echoes more often");
  demand(settings.join_listen >= settings.stale_age && settings.join_listen <= seconds(60),
         "a node that joins listens for " + text(settings.join_listen) + ": give " + text(settings.stale_age) +
             " (the age at which statements are stale) to 60 s, or it claims what somebody owns");
  demand(settings.rejoin_listen >= settings.statement_interval && settings.rejoin_listen <= settings.join_listen,
         "a node that was cut off listens for " + text(settings.rejoin_listen) + ": give " +
             text(settings.statement_interval) + " (the statement interval) to " + text(settings.join_listen) +
             " (what a node that starts listens)");
  demand(settings.fail_back_delay >= settings.join_listen,
         "a VIP fails back after " + text(settings.fail_back_delay) +
             ", sooner than a node that starts has listened (" + text(settings.join_listen) +
             "): it would move to and fro");
  demand(settings.lease >= seconds(1) && settings.lease <= seconds(60),
         "the lease is " + text(settings.lease) +
             ": give 1 s to 60 s; it is renewed every 100 ms, and a hung daemon's VIPs wait for its end");
  demand(settings.lease >= settings.stale_age, "the lease is " + text(settings.lease) +
                                                   ", shorter than a statement counts (" + text(settings.stale_age) +
                                                   "): a busy daemon would lose its VIPs");
  return wrong;
}

}  // namespace xlb
