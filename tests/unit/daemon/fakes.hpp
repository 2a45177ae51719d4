// SPDX-License-Identifier: Apache-2.0
// The edges in memory: a data plane that keeps tables and can fail at any edit, a machine that looks as told, a wire on which
// strangers answer.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "userspace/daemon/reconciler.hpp"

namespace xlb::fake {

inline Address address(const std::string& text) {
  auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

inline Prefix prefix(const std::string& text) {
  auto parsed = parse_prefix(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

inline testing::AssertionResult has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << text << "\" lacks \"" << part << '"';
}

// One of the sentences has this part.
inline testing::AssertionResult says(const std::vector<std::string>& sentences, const std::string& part) {
  for (const std::string& sentence : sentences)
    if (has(sentence, part)) return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure() << "nothing says \"" << part << "\" in:";
  for (const std::string& sentence : sentences) failure << "\n  " << sentence;
  return failure;
}

struct World {
  // the kernel
  std::vector<AttachedLink> attached;
  Tables tables;
  std::optional<Tables> kept;  // what the reconciler says that they hold
  std::size_t forgotten = 0;
  lb_node node{};
  Capacity capacity;
  std::optional<std::size_t> fail_at_edit;  // counted over all apply() calls
  std::size_t edits = 0;
  bool fail_lease = false;
  std::optional<std::size_t> vips_at_lease;  // rows that were there when the lease was given for ever
  std::size_t attach_calls = 0;
  // the machine
  std::vector<Link> links;
  std::set<Address> own;
  Places places;
  std::map<Address, int> routed_until;  // looks at an address that it takes until its neighbour is known
  std::vector<Address> asked_neighbours;
  // the wire
  std::map<Address, Mac> strangers;
  std::optional<Mac> proxy;
  bool silent_wire = false;  // it has not answered yet
  std::vector<Address> probed;
  std::vector<std::pair<std::string, Address>> announced;

  World() {
    node.epoch = 1;
    node.lease_boot_ns = XLB_FOREVER;
    node.abi_version = XLB_ABI_VERSION;
    node.tcp_idle_ns = XLB_TCP_IDLE_DEFAULT_NS;
    Link link;
    link.name = link.l3_name = "eth0";
    link.attach_ifindex = link.l3_ifindex = 2;
    link.mac.bytes = {2, 0, 0, 0, 0, 1};
    link.subnets = {prefix("192.168.0.0/24")};
    link.addresses = {address("192.168.0.11")};
    link.gateway4 = address("192.168.0.1");
    links.push_back(link);
    own = {address("192.168.0.11")};
  }
};

class DataPlane : public xlb::DataPlane {
 public:
  explicit DataPlane(World& world) : world_(world) {}
  Result<AttachedLink> attach(const AttachRequest& request) override {
    ++world_.attach_calls;
    AttachedLink link{request.interface, 2, AttachMode::tc, "test", {"xlb_lan_tc"}};
    world_.attached = {link};
    return link;
  }
  Result<void> detach(const std::string&) override { return detach_all(); }
  Result<void> detach_all() override {
    world_.attached.clear();
    world_.tables = {};
    return {};
  }
  Result<void> upgrade() override { return {}; }
  Result<std::vector<AttachedLink>> attached() override { return world_.attached; }
  Result<lb_node> node() override { return world_.node; }
  Result<void> set_trace(std::uint64_t until_mono_ns, std::uint32_t every) override {
    world_.node.trace_until_mono_ns = until_mono_ns;
    world_.node.trace_every = every;
    return {};
  }
  Result<void> give_lease_for_ever() override {
    if (world_.fail_lease) return Error{"no such table"};
    world_.vips_at_lease = world_.tables.vips.size();
    world_.node.lease_boot_ns = XLB_FOREVER;
    return {};
  }
  Result<Capacity> capacity() override { return world_.capacity; }
  Result<Tables> installed() override {
    world_.kept.reset();
    return world_.tables;
  }
  void keep(Tables tables) override {
    EXPECT_FALSE(world_.attached.empty()) << "they were not read";
    EXPECT_TRUE(tables == world_.tables) << "the next pass would plan from what is not so";
    world_.kept = std::move(tables);
  }
  void forget() override {
    world_.kept.reset();
    ++world_.forgotten;
  }
  Result<void> apply(const Edits& edits) override {
    for (const Edit& edit : edits) {
      if (world_.fail_at_edit && world_.edits == *world_.fail_at_edit)
        return Error{describe(edit) + ": no space left on device"};
      world_.tables = xlb::apply({edit}, world_.tables);
      ++world_.edits;
    }
    return {};
  }
  Result<Counters> counters() override { return Counters{}; }
  Result<std::vector<FlowRow>> flows() override { return std::vector<FlowRow>{}; }

 private:
  World& world_;
};

class Machine : public Netlink {
 public:
  explicit Machine(World& world) : world_(world) {}
  Result<std::vector<InterfaceFacts>> interfaces() override { return std::vector<InterfaceFacts>{}; }
  Result<std::optional<InterfaceFacts>> interface(const std::string&) override { return std::optional<InterfaceFacts>{}; }
  Result<std::vector<Link>> links(const std::vector<std::string>&) override { return world_.links; }
  Result<std::set<Address>> own_addresses() override { return world_.own; }
  Result<Places> find_places(const std::vector<Address>& addresses, const Places&) override {
    Places found;
    for (const Address& address : addresses) {
      const auto place = world_.places.find(address);
      found[address] = place == world_.places.end() ? Place{Place::Kind::absent, 0, "", "no route"} : place->second;
      const auto wait = world_.routed_until.find(address);
      if (wait != world_.routed_until.end() && wait->second-- > 0) found[address] = {Place::Kind::routed, 0, "", "no neighbour yet"};
    }
    return found;
  }
  Result<std::optional<Mac>> neighbour(std::uint32_t, const Address&) override { return std::optional<Mac>(); }
  Result<void> probe_neighbour(const Address& address) override {
    world_.asked_neighbours.push_back(address);
    return {};
  }
  [[nodiscard]] int change_fd() const override { return -1; }
  bool drain_changes() override { return false; }

 private:
  World& world_;
};

inline Edges edges(World& world) {
  Edges edges;
  edges.data_plane = std::make_unique<DataPlane>(world);
  edges.netlink = std::make_unique<Machine>(world);
  edges.ask_wire = [&world](const Link&, const std::vector<Address>& addresses, const std::set<Mac>&,
                            std::chrono::steady_clock::time_point) -> Result<WireAnswers> {
    WireAnswers answers;
    for (const Address& address : addresses) {
      if (world.silent_wire) {
        answers.open[address] = "asking";
        continue;
      }
      world.probed.push_back(address);
      if (const auto stranger = world.strangers.find(address); stranger != world.strangers.end())
        answers.taken.push_back({address, stranger->second});
      else if (world.proxy)
        answers.taken.push_back({address, *world.proxy});
    }
    return answers;
  };
  edges.announce = [&world](const Link& link, const std::vector<Address>& vips) -> Result<void> {
    for (const Address& vip : vips) world.announced.emplace_back(link.name, vip);
    return {};
  };
  return edges;
}

// A folder of its own for each test, gone afterwards.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "xlb-daemon-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] Settings settings() const {
    Settings settings;
    settings.node = "pi1";
    settings.config_dir = path_ / "etc";
    settings.run_dir = path_ / "run";
    settings.pin_dir = (path_ / "bpf").string();
    return settings;
  }
  // Every file below etc, with its content: equal before and after means that nothing was written.
  [[nodiscard]] std::map<std::string, std::string> content() const {
    std::map<std::string, std::string> files;
    if (!std::filesystem::exists(path_ / "etc")) return files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path_ / "etc")) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path());
      files[entry.path().string()] = std::string(std::istreambuf_iterator<char>(in), {});
    }
    return files;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace xlb::fake
