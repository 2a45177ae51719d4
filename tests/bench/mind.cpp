// SPDX-License-Identifier: Apache-2.0
// How long the mind takes: from what is declared to the edits of the tables, for a large cluster's worth of services, and
// again when one endpoint has changed. No kernel: the edits are counted, applying them is measured elsewhere.
//
// Endpoints sit in 100 pods of this node, which is as many as a node holds. Backends and slots are remembered between passes,
// as the daemon does.
//
//   xlb_bench_mind SERVICES PORTS BACKENDS ROUNDS      prints one JSON object
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "userspace/core/allocator.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/core/decide_memory.hpp"
#include "userspace/core/plan.hpp"
#include "userspace/core/slots.hpp"
#include "userspace/core/tables.hpp"

namespace {

using namespace xlb;

constexpr std::uint32_t kPods = 100;

Address numbered(std::uint8_t first, std::uint32_t number) {
  return Address::from_ipv4({first, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                             static_cast<std::uint8_t>(number)});
}

Objects cluster(std::uint32_t services, std::uint32_t ports, std::uint32_t backends) {
  Objects objects;
  Pool pool;
  pool.name.name = "bench";
  pool.ranges.push_back({numbered(172, 0x100001), numbered(172, 0x100000 + services + 10), "172.16.0.1-…"});
  objects.pools.push_back(pool);
  L2Advertisement advertisement;
  advertisement.name.name = "bench";
  objects.advertisements.push_back(advertisement);
  for (std::uint32_t i = 0; i < services; ++i) {
    Service service;
    service.name.name = "service" + std::to_string(i);
    for (std::uint32_t port = 0; port < ports; ++port) {
      const std::string name = "port" + std::to_string(port);
      service.ports.push_back({name, Protocol::tcp, static_cast<std::uint16_t>(80 + port), name});
    }
    objects.services.push_back(service);
    EndpointSlice slice;
    slice.name.name = service.name.name + "-bench";
    slice.service = service.name.name;
    for (const ServicePort& port : service.ports) {
      slice.ports.push_back({port.name, Protocol::tcp, static_cast<std::uint16_t>(7920 + port.port)});
    }
    for (std::uint32_t j = 0; j < backends; ++j) {
      Endpoint endpoint;
      endpoint.addresses.push_back(numbered(10, i * backends + j + 1));
      slice.endpoints.push_back(endpoint);
    }
    objects.slices.push_back(slice);
  }
  return objects;
}

Machine machine(const Objects& objects) {
  Machine machine;
  machine.node_name = "pi1";
  Link link;
  link.name = link.l3_name = "eth0";
  link.attach_ifindex = link.l3_ifindex = 2;
  link.subnets.push_back({numbered(172, 0x100000), 12});
  machine.links.push_back(link);
  for (const Address& address : backend_addresses(objects, "pi1")) {
    Place place;
    place.kind = Place::Kind::pod;
    place.veth_ifindex = 100 + address.bytes[15] % kPods;
    machine.places[address] = place;
  }
  return machine;
}

// Of this process: it only computes, so that is how long it takes on a machine that does nothing else.
double cpu_ms() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return 1e3 * static_cast<double>(used.tv_sec) + 1e-6 * static_cast<double>(used.tv_nsec);
}

struct Step {
  double ms = 0;
  Tables tables;
  std::size_t edits = 0;
};

Result<Step> think(const Objects& objects, const Machine& machine, const Assignments& held, const Tables& installed,
                   const Capacity& capacity, DecideMemory& decisions, SlotMemory& memory) {
  const double start = cpu_ms();
  const Allocation allocation = allocate(objects, held, {});
  const Desired desired = decide(objects, allocation.held, machine, allocation.refusals, {}, {}, &decisions);
  auto tables = compile(desired, installed, capacity, 1, &memory);
  if (!tables) return tables.error();
  const Edits edits = plan(installed, *tables);
  return Step{cpu_ms() - start, std::move(*tables), edits.size()};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int run(std::uint32_t services, std::uint32_t ports, std::uint32_t backends, int rounds) {
  Capacity capacity;
  capacity.services = services * ports * 2 + 1;
  capacity.backends = services * ports * backends * 2 + 1;
  capacity.slots = services * ports * slot_count(backends) * 2;
  const Objects before = cluster(services, ports, backends);
  const Assignments held = allocate(before, {}, {}).held;
  Objects after = before;
  after.slices.own(services / 2).endpoints[0].addresses[0] = numbered(11, 1);
  const Machine here = machine(before), then = machine(after);
  std::vector<double> cold, change;
  std::size_t all_edits = 0, edits = 0;
  for (int round = 0; round < rounds; ++round) {
    DecideMemory decisions;
    SlotMemory memory;
    auto first = think(before, here, {}, Tables{}, capacity, decisions, memory);
    if (!first) return std::fprintf(stderr, "mind: %s\n", first.error().text.c_str()), 1;
    auto second = think(after, then, held, first->tables, capacity, decisions, memory);
    if (!second) return std::fprintf(stderr, "mind: %s\n", second.error().text.c_str()), 1;
    cold.push_back(first->ms);
    change.push_back(second->ms);
    all_edits = first->edits;
    edits = second->edits;
  }
  std::printf("{\"services\": %u, \"backends\": %u, \"cold_ms\": %.2f, \"cold_edits\": %zu, \"change_ms\": %.2f, "
              "\"change_edits\": %zu}\n",
              services * ports, services * ports * backends, median(cold), all_edits, median(change), edits);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: xlb_bench_mind SERVICES PORTS BACKENDS ROUNDS\n");
    return 2;
  }
  const auto number = [argv](int index) { return static_cast<std::uint32_t>(std::stoul(argv[index])); };
  return run(number(1), number(2), number(3), std::stoi(argv[4]));
}
