// SPDX-License-Identifier: Apache-2.0
// How long the core takes, by size: `xlb_core_speed [SERVICES BACKENDS]`. Prints one line a step, in milliseconds:
// the median of several runs. Cold is a start from nothing; change is one endpoint that goes and comes back.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "tests/unit/core/build.hpp"
#include "userspace/core/allocator.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/core/plan.hpp"

namespace {

using namespace xlb;

double milliseconds(int runs, const std::function<void()>& step) {
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) {
    const std::clock_t begin = std::clock();
    step();
    times.push_back(1000.0 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void measure(std::uint32_t services, std::uint32_t backends, int runs) {
  Objects objects;
  objects.pools = {test::pool("big", {"10.8.0.0/14"})};
  objects.advertisements.resize(1);
  Machine machine;
  machine.node_name = "pi1";
  machine.links.resize(1);
  machine.links[0].name = machine.links[0].l3_name = "eth0";
  machine.links[0].subnets = {test::prefix("10.8.0.0/14")};
  Address pod = test::address("10.64.0.1");
  // As many VIPs as there may be, the services spread over their ports.
  const std::uint32_t ports = (services + 3999) / 4000;
  for (std::uint32_t i = 0; i < services / ports; ++i) {
    Service service = test::service("s" + std::to_string(100000 + i), {});
    for (std::uint32_t p = 0; p < ports; ++p) service.ports.push_back(test::tcp(static_cast<std::uint16_t>(80 + p)));
    std::vector<Endpoint> endpoints(backends);
    for (Endpoint& endpoint : endpoints) {
      endpoint.addresses = {pod};
      machine.places[pod] = test::pod(100 + pod.bytes[15]);
      pod = pod.next();
    }
    objects.slices.push_back(test::slice(service.name.name, {}, endpoints));
    objects.services.push_back(std::move(service));
  }
  const Capacity capacity{services + 1, 2 * services * backends + 2, 4 * services * slot_count(backends) + 65536,
                          1024};

  Allocation allocation;
  const double allocate_ms = milliseconds(runs, [&] { allocation = allocate(objects, {}, {}); });
  Desired desired;
  const double decide_ms = milliseconds(runs, [&] { desired = decide(objects, allocation.held, machine, {}, {}); });
  const auto compile_or_die = [&](const Tables& installed, SlotMemory* memory) {
    auto tables = compile(desired, installed, capacity, 1, memory);
    if (!tables) {
      std::fprintf(stderr, "xlb_core_speed: %s\n", tables.error().text.c_str());
      std::exit(1);
    }
    return std::move(*tables);
  };
  Tables installed;
  const double cold_ms = milliseconds(runs, [&] { installed = compile_or_die({}, nullptr); });
  std::size_t cold_edits = 0;
  const double cold_plan_ms = milliseconds(runs, [&] { cold_edits = plan({}, installed, capacity).size(); });

  SlotMemory memory;
  installed = compile_or_die({}, &memory);
  const std::size_t middle = desired.services.size() / 2;
  const DesiredBackend last = desired.services[middle].ports[0].backends.back();
  Edits edits;
  std::size_t change_edits = 0;
  std::vector<double> compile_times;
  std::vector<double> plan_times;
  for (int i = 0; i < 2 * runs; ++i) {
    std::vector<DesiredBackend>& list = desired.services.own(middle).ports[0].backends;
    if (i % 2 == 0) {
      list.pop_back();
    } else {
      list.push_back(last);
    }
    Tables wanted;
    compile_times.push_back(milliseconds(1, [&] { wanted = compile_or_die(installed, &memory); }));
    plan_times.push_back(milliseconds(1, [&] { edits = plan(installed, wanted, capacity); }));
    change_edits = std::max(change_edits, edits.size());
    installed = std::move(wanted);
  }
  std::sort(compile_times.begin(), compile_times.end());
  std::sort(plan_times.begin(), plan_times.end());
  std::printf("%u services x %u backends\n", services, backends);
  std::printf("  allocate        %9.2f ms\n  decide          %9.2f ms\n", allocate_ms, decide_ms);
  std::printf("  compile, cold   %9.2f ms\n  plan, cold      %9.2f ms  (%zu edits)\n", cold_ms, cold_plan_ms,
              cold_edits);
  std::printf("  compile, change %9.2f ms\n", compile_times[compile_times.size() / 2]);
  std::printf("  plan, change    %9.2f ms  (%zu edits at most)\n", plan_times[plan_times.size() / 2], change_edits);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) {
    const auto services = static_cast<std::uint32_t>(std::strtoul(argv[1], nullptr, 10));
    const auto backends = static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10));
    if (services == 0 || backends == 0) {
      std::fprintf(stderr, "usage: xlb_core_speed [SERVICES BACKENDS]\n");
      return 2;
    }
    measure(services, backends, 5);
    return 0;
  }
  measure(50, 3, 21);
  measure(1000, 10, 11);
  measure(10000, 10, 3);
  return 0;
}
