// SPDX-License-Identifier: Apache-2.0
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <iostream>

#include "loader/event_ring.hpp"
#include "userspace/cli/command.hpp"
#include "userspace/cli/view.hpp"
#include "userspace/daemon/clock.hpp"
#include "userspace/daemon/control.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr auto kRenewal = 1s;
constexpr std::uint64_t kLeaseNs = 3 * XLB_SECOND_NS;  // a trace that is killed leaves the programs sampling for so long

struct TraceArguments {
  std::string vip, client;
  std::string every = "1";
  std::string count = "0";
};

struct Filter {
  std::optional<Address> vip, client;

  // A packet names the VIP or the client on either side, by its direction.
  [[nodiscard]] bool takes(const lb_event& event) const {
    const Address source = Address::from_abi(event.source), destination = Address::from_abi(event.destination);
    const auto named = [&](const std::optional<Address>& wanted) { return !wanted || *wanted == source || *wanted == destination; };
    return named(vip) && named(client);
  }
};

// Prints events until the wished number has been seen.
class Printer {
 public:
  Printer(const Context& context, Filter filter, std::uint64_t most) : context_(context), filter_(filter), most_(most) {
    timespec wall{};
    clock_gettime(CLOCK_REALTIME, &wall);
    start_ns_ = monotonic_ns();
    const auto second = static_cast<std::int64_t>(XLB_SECOND_NS);
    wall_minus_mono_ns_ = wall.tv_sec * second + wall.tv_nsec - static_cast<std::int64_t>(start_ns_);
  }

  void take(const lb_event& event) {
    // The ring keeps what nobody had read: that was before the user asked. The programs stamp with the coarse clock, which
    // is behind by up to a tick (10 ms).
    if (event.mono_ns + 10'000'000 < start_ns_ || !filter_.takes(event) || done()) return;
    std::array<char, IF_NAMESIZE> name{};
    const char* interface = if_indextoname(event.ifindex, name.data());
    const Json json = event_json(event, wall_minus_mono_ns_, interface ? interface : std::to_string(event.ifindex));
    if (context_.output == OutputFormat::json)
      std::cout << json.dump() << "\n";
    else if (context_.output == OutputFormat::yaml)
      std::cout << "---\n" << yaml_text(json);
    else
      std::cout << event_line(json) << "\n";
    std::cout.flush();
    ++seen_;
  }
  [[nodiscard]] bool done() const { return (most_ != 0 && seen_ >= most_) || !std::cout; }

 private:
  const Context& context_;
  Filter filter_;
  std::uint64_t most_, seen_ = 0;
  std::uint64_t start_ns_ = 0;
  std::int64_t wall_minus_mono_ns_ = 0;
};

Result<int> open_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return Error{std::string("signalfd: ") + std::strerror(errno)};
  return fd;
}

// The daemon reads the ring; we listen.
Result<void> through_daemon(ControlClient& client, const Context& context, std::uint32_t every, Printer& printer, Loop& loop) {
  if (auto sent = client.send(encode(make_request(context.settings, TraceRequest{every}))); !sent) return sent;
  Result<void> result;
  const auto end = [&](Result<void> with) {
    result = std::move(with);
    loop.stop();
  };
  auto watched = loop.watch(client.fd(), EPOLLIN, [&](std::uint32_t) {
    auto more = client.receive();
    if (!more) return end(more.error());
    while (auto line = client.buffered_line()) {
      auto answer = decode_answer(*line);
      if (!answer) return end(answer.error());
      if (const auto* error = std::get_if<Error>(&*answer)) return end(*error);
      if (const auto* event = std::get_if<lb_event>(&*answer)) printer.take(*event);
      if (printer.done()) return end({});
    }
    if (!*more) end(Error{"the daemon ended"});
  });
  if (!watched) return watched;
  if (auto ran = loop.run(); !ran) return ran;
  return result;
}

Result<void> on_the_spot(const Context& context, std::uint32_t every, Printer& printer, Loop& loop) {
  auto lock = Lock::take(context.settings.events_lock_file(), 0ms, "another `xdp-lb trace` is reading the events");
  if (!lock) return lock.error();
  auto node = open_node(context, "trace");
  if (!node) return node.error();
  auto attached = (*node)->edges().data_plane->attached();
  if (!attached) return attached.error();
  if (attached->empty()) return Error{"nothing is attached: xdp-lb attach IFACE"};
  auto ring = EventRing::open(context.settings.pin_dir);
  if (!ring) return ring.error();

  Result<void> result;
  const auto end = [&](Result<void> with) {
    result = std::move(with);
    loop.stop();
  };
  auto watched = loop.watch((*ring)->fd(), EPOLLIN, [&](std::uint32_t) {
    auto read = (*ring)->read([&](const lb_event& event) { printer.take(event); });
    if (!read) return end(read.error());
    if (printer.done()) end({});
  });
  if (!watched) return watched;
  std::function<void()> renew = [&] {
    if (auto set = (*node)->set_trace(monotonic_ns() + kLeaseNs, every, PassOptions{}); !set) return end(set.error());
    loop.at(Loop::Clock::now() + kRenewal, renew);
  };
  renew();
  if (result) {
    if (auto ran = loop.run(); !ran) return ran;
  }
  auto cleared = (*node)->set_trace(0, 0, PassOptions{});
  if (result && !cleared) return cleared.error();
  return result;
}

Result<void> trace(const Context& context, std::uint32_t every, Printer& printer) {
  auto loop = Loop::open();
  if (!loop) return loop.error();
  auto signals = open_signals();
  if (!signals) return signals.error();
  if (auto watched = loop->watch(*signals, EPOLLIN, [&](std::uint32_t) { loop->stop(); }); !watched) return watched;
  auto client = ControlClient::connect(context.settings.control_socket());
  if (!client) return client.error();
  return *client ? through_daemon(**client, context, every, printer, *loop) : on_the_spot(context, every, printer, *loop);
}

int trace_command(const Context& context, const TraceArguments& arguments) {
  Filter filter;
  if (!arguments.vip.empty()) {
    auto address = address_option("--vip", arguments.vip);
    if (!address) return usage(address.error());
    filter.vip = *address;
  }
  if (!arguments.client.empty()) {
    auto address = address_option("--client", arguments.client);
    if (!address) return usage(address.error());
    filter.client = *address;
  }
  const auto number = [](const std::string& text) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
  };
  const auto every = number(arguments.every), count = number(arguments.count);
  if (!every || *every == 0) return usage(Error{"--every \"" + arguments.every + "\": expected a number from 1 on"});
  if (!count) return usage(Error{"--count \"" + arguments.count + "\": expected a number, 0 for no end"});
  if (auto allowed = require_capabilities("trace"); !allowed) return fail(allowed.error());
  Printer printer(context, filter, *count);
  if (auto done = trace(context, *every, printer); !done) return fail(done.error().in("trace"));
  return kDone;
}

}  // namespace

void add_trace(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("trace", "What happens to packets for VIPs, one line each, while it runs");
  auto arguments = std::make_shared<TraceArguments>();
  command->add_option("--vip", arguments->vip, "Only packets to and from this VIP")->type_name("ADDRESS");
  command->add_option("--client", arguments->client, "Only packets of this client")->type_name("ADDRESS");
  command->add_option("--every", arguments->every, "Look at one packet of so many (default 1: all)")->type_name("N");
  command->add_option("--count", arguments->count, "End after so many lines (default 0: never)")->type_name("N");
  add_output(*command, context);
  command->callback([&context, arguments] { context.action = [&context, arguments] { return trace_command(context, *arguments); }; });
}

}  // namespace xlb
