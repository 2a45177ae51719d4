// SPDX-License-Identifier: Apache-2.0
// Real sockets of the client's kernel: its neighbour table, its routes, its TCP. A flow that is answered is closed with a
// RST, so that neither side keeps anything of it.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/outages.hpp"
#include "tests/lab/probe/verbs.hpp"

namespace xlb::probe {

namespace {

constexpr std::uint64_t kTick = ~0ULL;
constexpr std::int64_t kQuiet = 150 * kMs;
constexpr std::int64_t kShortestGap = 5 * kMs;

struct Flow {
  std::int64_t begun = 0;
  Descriptor socket;
  enum { kUnderWay, kSucceeded, kFailed } state = kUnderWay;
};

class Opener {
 public:
  explicit Opener(const NewFlows& options)
      : options_(options), to_(address_of(options.to, options.port)), outages_(kQuiet, kShortestGap) {}

  nlohmann::json run();

 private:
  void open();
  void answered(std::uint64_t number);
  void judge(std::int64_t at);
  void failed(Flow& flow, int error);
  nlohmann::json report(std::int64_t ended) const;

  const NewFlows& options_;
  const sockaddr_in to_;
  Descriptor epoll_ = make_epoll();
  std::deque<Flow> flows_;   // in the order in which they were begun
  std::uint64_t first_ = 0;  // the number of flows_.front()
  Outages outages_;
  std::map<std::string, std::uint64_t> reasons_;
  std::int64_t began_ = 0, worst_stall_ = 0;
};

void Opener::open() {
  Flow flow;
  flow.begun = now();
  outages_.begun(flow.begun);
  flow.socket = Descriptor(socket(AF_INET, (options_.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = flow.socket.get();
  if (fd < 0) fail_errno("socket");
  const linger no_farewell{.l_onoff = 1, .l_linger = 0};
  if (!options_.udp) setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_farewell, sizeof no_farewell);
  const int done = connect(fd, reinterpret_cast<const sockaddr*>(&to_), sizeof to_);
  if (done != 0 && errno != EINPROGRESS) {
    failed(flow, errno);
  } else if (options_.udp && send(fd, "?", 1, 0) < 0) {
    failed(flow, errno);
  } else {
    watch(epoll_, fd, options_.udp ? EPOLLIN : EPOLLOUT, first_ + flows_.size());
  }
  flows_.push_back(std::move(flow));
}

void Opener::failed(Flow& flow, int error) {
  flow.state = Flow::kFailed;
  flow.socket = Descriptor();
  ++reasons_[error == ETIMEDOUT ? "no answer" : std::strerror(error)];
}

void Opener::answered(std::uint64_t number) {
  if (number < first_ || number - first_ >= flows_.size()) return;
  Flow& flow = flows_[number - first_];
  if (flow.state != Flow::kUnderWay) return;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(flow.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    failed(flow, error);
    return;
  }
  flow.state = Flow::kSucceeded;
  flow.socket = Descriptor();
  outages_.completed(now());
}

// Tells the outcomes in the order of the flows' beginning; what is under way for too long has failed.
void Opener::judge(std::int64_t at) {
  while (!flows_.empty()) {
    Flow& flow = flows_.front();
    if (flow.state == Flow::kUnderWay) {
      if (at - flow.begun < options_.timeout_ms * kMs) return;
      failed(flow, ETIMEDOUT);
    }
    outages_.judged(flow.begun, flow.state == Flow::kSucceeded);
    flows_.pop_front();
    ++first_;
  }
}

nlohmann::json Opener::run() {
  const Descriptor tick = make_tick(options_.every_us * 1000);
  watch(epoll_, tick.get(), EPOLLIN, kTick);
  began_ = now();
  const std::int64_t until = began_ + static_cast<std::int64_t>(options_.seconds * 1e9);
  std::int64_t last = began_;
  std::vector<epoll_event> events(256);
  bool opening = true;
  while (opening || !flows_.empty()) {
    if (opening && (ended() || now() >= until)) opening = false;  // what is under way still gets its time
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 100);
    for (int index = 0; index < count; ++index)
      if (events[static_cast<std::size_t>(index)].data.u64 != kTick)
        answered(events[static_cast<std::size_t>(index)].data.u64);
    const std::int64_t at = now();
    judge(at);
    if (ticks(tick) == 0 || !opening) continue;
    // Ticks that were missed stay missed: the stall is told instead, so that nobody takes it for the service's.
    worst_stall_ = std::max(worst_stall_, at - last - options_.every_us * 1000);
    last = at;
    open();
  }
  outages_.end(last);
  return report(last);
}

nlohmann::json spans(const std::vector<Span>& spans, bool counted) {
  nlohmann::json list = nlohmann::json::array();
  for (const Span& span : spans) {
    nlohmann::json one{{"from", seconds(span.from)}, {"to", seconds(span.to)}, {"ms", milliseconds(span.length())}};
    if (counted) one.update({{"failed", span.failed}, {"flows", span.flows}});
    list.push_back(std::move(one));
  }
  return list;
}

nlohmann::json Opener::report(std::int64_t ended) const {
  return {{"began", seconds(began_)},       {"ended", seconds(ended)},
          {"flows", outages_.flows()},      {"failed", outages_.failed()},
          {"reasons", reasons_},            {"worst_stall_ms", milliseconds(worst_stall_)},
          {"windows", spans(outages_.windows(), true)}, {"gaps", spans(outages_.gaps(), false)}};
}

}  // namespace

nlohmann::json run(const NewFlows& options) { return Opener(options).run(); }

}  // namespace xlb::probe
