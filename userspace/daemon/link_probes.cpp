// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/link_probes.hpp"

#include <sys/epoll.h>

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr auto kFailureCounts = 2s;  // a link that could not be asked is not asked again at once

}  // namespace

LinkProbes::~LinkProbes() {
  for (auto& [id, run] : runs_) {
    loop_.cancel(run.timer);
    for (const int fd : run.probe.descriptors()) loop_.forget(fd);
  }
}

Result<WireAnswers> LinkProbes::ask(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own,
                                    Clock::time_point since) {
  const auto now = Clock::now();
  std::erase_if(findings_, [&](const auto& entry) { return now - entry.second.at > kKept; });
  const std::string& name = link.l3_name.empty() ? link.name : link.l3_name;
  WireAnswers answers;
  std::vector<Address> unknown;
  for (const Address& address : addresses) {
    const Key key(link.l3_ifindex, address);
    const auto found = findings_.find(key);
    if (found != findings_.end() && found->second.failure) {
      if (now - found->second.at < kFailureCounts) return *found->second.failure;
    } else if (found != findings_.end() && found->second.at >= since) {
      const auto& holder = found->second.holder;
      if (holder && !own.contains(*holder)) answers.taken.push_back({address, *holder});
      continue;
    }
    answers.open[address] = "asking on " + name + " whether somebody has it";
    if (!asking_.contains(key)) unknown.push_back(address);
  }
  if (unknown.empty() || runs_.size() >= kRuns) return answers;
  if (auto started = start(link, unknown, own); !started) return started.error();
  return answers;
}

Result<void> LinkProbes::start(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own) {
  auto probe = LinkProbe::open(link, addresses, own);
  if (!probe) return probe.error();
  const std::uint64_t id = next_id_++;
  Run& run = runs_.emplace(id, Run{std::move(*probe), link.l3_ifindex, addresses}).first->second;
  for (const Address& address : addresses) asking_.insert({link.l3_ifindex, address});
  for (const int fd : run.probe.descriptors()) {
    if (auto watched = loop_.watch(fd, EPOLLIN, [this, id](std::uint32_t) { go_on(id); }); !watched) {
      end(id, &watched.error());
      return watched;
    }
  }
  // Not now: the caller is in the middle of a pass and is not to be called back.
  run.timer = loop_.at(Clock::now(), [this, id] { go_on(id); });
  return {};
}

void LinkProbes::go_on(std::uint64_t id) {
  const auto found = runs_.find(id);
  if (found == runs_.end()) return;
  Run& run = found->second;
  loop_.cancel(run.timer);
  auto next = run.probe.step(Clock::now());
  if (next) {
    run.probe.listen();
    if (!run.probe.over(Clock::now())) {
      run.timer = loop_.at(*next, [this, id] { go_on(id); });
      return;
    }
  }
  end(id, next ? nullptr : &next.error());
  settled_();
}

void LinkProbes::end(std::uint64_t id, const Error* failure) {
  const auto found = runs_.find(id);
  Run& run = found->second;
  for (const int fd : run.probe.descriptors()) loop_.forget(fd);
  for (const Address& address : run.addresses) {
    Finding finding{{}, {}, Clock::now()};
    if (failure) finding.failure = *failure;
    if (const auto holder = run.probe.holders().find(address); holder != run.probe.holders().end())
      finding.holder = holder->second;
    const Key key(run.ifindex, address);
    asking_.erase(key);
    findings_.insert_or_assign(key, std::move(finding));
  }
  runs_.erase(found);
}

}  // namespace xlb
