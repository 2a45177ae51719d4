// SPDX-License-Identifier: Apache-2.0
// The real programs, loaded once a process without pins, with their tables laid open: fill them, send a frame through
// a program with BPF_PROG_TEST_RUN, and look at everything it left behind.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "maps/abi.h"
#include "tests/packet/sandbox.hpp"
#include "tests/support/packet.hpp"
#include "userspace/core/result.hpp"

struct bpf_object;
struct ring_buffer;

namespace xlb {

enum class Program { lan_xdp, lan_tc, return_tc, egress_tc };
const char* program_name(Program program);

inline constexpr int kTcUnspec = -1, kTcOk = 0, kTcShot = 2, kTcRedirect = 7;
inline constexpr int kXdpDrop = 1, kXdpPass = 2, kXdpTx = 3, kXdpRedirect = 4;

// A frame and what goes with it outside of its bytes.
struct Input {
  packet::Bytes frame{};
  std::uint32_t ifindex = 0;
  std::optional<std::uint16_t> vlan_metadata{};  // tag taken out of the frame by the kernel or the NIC; tc only
  std::uint16_t tc_index = 0;                    // tc only
  std::uint32_t mark = 0;                        // tc only: of the socket that sent it
  std::uint32_t gso_size = 0;                    // tc only
  bool checksum_complete = false;                // tc only: as from a NIC that sums the whole frame
  std::optional<std::uint32_t> cut{};            // shortened to this many bytes before the program sees it; tc only
};

struct Output {
  int action = 0;
  packet::Bytes frame{};
  std::uint32_t priority = 0;  // skb->priority, as it goes on; tc only
  int error = 0;  // errno of the test run itself; EBADMSG: the program broke skb->csum
};

template <typename T>
struct BytesLess {
  bool operator()(const T& left, const T& right) const { return std::memcmp(&left, &right, sizeof(T)) < 0; }
};
template <typename Key, typename Value>
using Table = std::map<Key, Value, BytesLess<Key>>;

// Everything that a packet may leave behind.
struct Traces {
  std::vector<lb_counter> counters;  // by verdict, summed over CPUs
  std::map<std::uint32_t, lb_svc_stats> services;
  std::vector<std::uint64_t> answers;  // to ARP and ND, by VIP id; of the first few
  Table<lb_flow_key, lb_flow> flows, half_open;
  Table<lb_frag_key, lb_frag> fragments;
  Table<lb_affinity_key, lb_affinity> affinity;
  std::map<std::uint32_t, lb_echo> echoes;  // rows that are not all zero
  std::vector<lb_event> events;  // since the traces before
};

class Rig {
 public:
  // Made once a process, with its sandbox. The error says why packet tests cannot run here.
  static Result<Rig*> get();

  [[nodiscard]] Sandbox& sandbox() { return *sandbox_; }
  // Empties every table.
  void reset();

  void set_node(const lb_node& node);
  void set_link(std::uint32_t ifindex, std::uint16_t vlan, const lb_link& link);
  void set_vip(const packet::IpAddress& address, const lb_vip& vip);
  void remove_vip(const packet::IpAddress& address);
  void set_service(std::uint32_t vip_id, std::uint16_t port, std::uint8_t protocol, const lb_service& service);
  void set_slot(std::uint32_t index, lb_slot slot);
  void set_backend(std::uint32_t id, const lb_backend& backend);
  void set_peer(std::uint32_t id, const lb_peer& peer);
  void set_peer_mac(const packet::MacAddress& mac, std::uint32_t id);
  void set_echo(std::uint32_t index, const lb_echo& echo);
  // `length` in the family's own count.
  void allow_source(std::uint32_t service_id, const packet::IpAddress& prefix, std::uint32_t length);

  void put_flow(const lb_flow_key& key, const lb_flow& flow, bool half_open = false);
  void remove_flow(const lb_flow_key& key, bool half_open = false);
  void put_fragment(const lb_frag_key& key, const lb_frag& value);
  void put_affinity(const lb_affinity_key& key, const lb_affinity& value);

  Output run(Program program, const Input& input);
  Traces traces();
  // Events since the last call.
  std::vector<lb_event> events();
  void drain_events();

  [[nodiscard]] bool has_checksum_complete() const { return has_checksum_complete_; }
  [[nodiscard]] int program_file(const char* name) const;
  [[nodiscard]] int map_file(const char* name) const;
  [[nodiscard]] bpf_object* object() { return object_; }

 private:
  Result<void> load();
  void probe();
  int wrapper(Program program, const Input& input);
  template <typename Key>
  void clear(const char* map);
  template <typename Key, typename Value>
  Table<Key, Value> read_all(const char* map) const;
  void update(const char* map, const void* key, const void* value);

  Sandbox* sandbox_ = nullptr;
  bpf_object* object_ = nullptr;
  ring_buffer* ring_ = nullptr;
  int jumps_ = -1;  // program array through which a wrapper enters the real program
  int cpus_ = 1;
  bool has_checksum_complete_ = false;
  std::map<std::string, int> wrappers_;
  std::vector<lb_event> collected_;
  std::vector<std::uint32_t> used_services_, used_slots_, used_backends_, used_echoes_;
};

}  // namespace xlb
