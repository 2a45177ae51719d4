// SPDX-License-Identifier: Apache-2.0
// What a balancer costs by itself: whole TCP connections as frames, without a TCP stack at either end.
//
// The sender holds a packet socket in the client's namespace and sends the client's six frames of each connection (SYN;
// ACK, request; ACK, FIN; ACK). Programs play the other two parts (replay.bpf.c). So a real stack's cost, ten times the
// balancer's, is not in the figure, and what is left of the harness is the same for every balancer: measured once with
// the server standing right at the node's NIC, and subtracted by tests/bench/run.
//
// All of it runs on one CPU, one batch after the other: the next phase of a batch begins when the answers to the last
// one are home. An answer that does not come within two seconds ends the run: a figure of lost frames would be worthless.
//
// Prints one JSON object; exit code 1 and a sentence when something went wrong.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/bench/cpu_time.hpp"
#include "tests/bench/replay.h"
#include "tests/bench/replay.skel.h"
#include "tests/support/checksum.hpp"
#include "tests/support/packet.hpp"

namespace {

using namespace xlb::packet;
using xlb::bench::CpuTime;
using xlb::bench::wall_ns;

constexpr std::size_t kBatch = 64;          // connections under way at once
constexpr std::size_t kRequestBytes = 120;  // a small HTTP request, and an answer of the same size
constexpr std::size_t kClients = 16;        // client addresses, counted up from --client
constexpr std::uint32_t kClientIsn = 0x01000000;
constexpr std::uint64_t kPatienceNs = 2'000'000'000;

struct Options {
  std::string client_ns, client_if = "eth0", client_mac, client = "192.168.0.50";
  std::string server_ns, server_if = "eth0", server_mac, server_gateway_mac;
  std::string node_mac;          // Ethernet destination of the client's frames
  std::string to;                // address that the client talks to: a VIP, or the pod itself
  std::uint16_t port = 80;
  std::string work = "connections";  // or "packets"
  std::size_t count = 20000;
  std::uint16_t first_port = 2000;
  int cpu = 1;
};

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }
[[noreturn]] void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { if (fd_ >= 0) close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// This thread in another network namespace, by path, for as long as the object lives.
class Inside {
 public:
  explicit Inside(const std::string& ns) : own_(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    const Descriptor there(open(ns.c_str(), O_RDONLY | O_CLOEXEC));
    if (there.get() < 0 || setns(there.get(), CLONE_NEWNET) != 0) fail_errno("enter " + ns);
  }
  ~Inside() { if (setns(own_.get(), CLONE_NEWNET) != 0) std::abort(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  Inside(Inside&&) = delete;
  Inside& operator=(Inside&&) = delete;

 private:
  Descriptor own_;
};

// A program at the ingress of an interface, in front of everything else there, until the object dies.
class Ingress {
 public:
  Ingress(std::string ns, const std::string& interface, int program) : ns_(std::move(ns)) {
    const Inside inside(ns_);
    hook_.ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (hook_.ifindex == 0) fail_errno(ns_ + ": no " + interface);
    const int made = bpf_tc_hook_create(&hook_);
    if (made != 0 && made != -EEXIST) fail(ns_ + ": clsact on " + interface + ": " + std::strerror(-made));
    made_ = made == 0;
    options_.prog_fd = program;
    options_.flags = BPF_TC_F_REPLACE;
    if (const int error = bpf_tc_attach(&hook_, &options_); error != 0) {
      fail(ns_ + ": tc on " + interface + ": " + std::strerror(-error));
    }
  }
  ~Ingress() {
    const Inside inside(ns_);
    options_.flags = 0;
    options_.prog_fd = 0;
    options_.prog_id = 0;
    bpf_tc_detach(&hook_, &options_);
    if (made_) {
      hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
      bpf_tc_hook_destroy(&hook_);
    }
  }
  Ingress(const Ingress&) = delete;
  Ingress& operator=(const Ingress&) = delete;
  Ingress(Ingress&&) = delete;
  Ingress& operator=(Ingress&&) = delete;

 private:
  std::string ns_;
  bool made_ = false;
  bpf_tc_hook hook_{.sz = sizeof(bpf_tc_hook), .ifindex = 0, .attach_point = BPF_TC_INGRESS, .parent = 0};
  bpf_tc_opts options_{.sz = sizeof(bpf_tc_opts), .prog_fd = 0, .flags = 0, .prog_id = 0, .handle = 1, .priority = 1};
};

// Counters of the programs, as memory.
class Counts {
 public:
  explicit Counts(int map) {
    void* memory = mmap(nullptr, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_READ, MAP_SHARED, map, 0);
    if (memory == MAP_FAILED) fail_errno("mmap of bench_counts");
    numbers_ = static_cast<const volatile std::uint64_t*>(memory);
  }
  [[nodiscard]] std::uint64_t operator[](std::uint32_t index) const { return numbers_[index]; }

  void await(std::uint32_t index, std::uint64_t wanted, const char* what) const {
    if (numbers_[index] == wanted) return;
    const std::uint64_t deadline = wall_ns() + kPatienceNs;
    for (std::uint32_t turns = 0; numbers_[index] < wanted; ++turns) {
      // ksoftirqd shares this CPU; it must be let in.
      if (turns % 64 == 63) sched_yield();
      if (turns % 1024 == 1023 && wall_ns() > deadline) {
        fail(std::string(what) + ": " + std::to_string(wanted - numbers_[index]) + " of " + std::to_string(wanted) +
             " frames did not arrive; " + std::to_string(numbers_[BENCH_STRANGERS]) + " came from another address");
      }
    }
    if (numbers_[index] > wanted) fail(std::string(what) + ": more frames than were asked for");
  }

 private:
  const volatile std::uint64_t* numbers_;
};

// What <linux/virtio_net.h> calls virtio_net_hdr; Debian 12's has a member named `class`, which no C++ compiler reads.
struct OffloadHeader {
  std::uint8_t flags = 1;  // the checksum is the pseudo header's: compute the rest
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t checksum_start = 14 + 20;
  std::uint16_t checksum_offset = 16;
};
static_assert(sizeof(OffloadHeader) == 10);

// A frame as the packet socket takes it: what a NIC's driver would be told, then the bytes.
Bytes with_partial_checksum(const Ethernet& ethernet, const Ipv4& ip, Tcp tcp, const Payload& payload) {
  const auto length = static_cast<std::uint32_t>(20 + payload.bytes.size());
  const std::uint64_t pseudo = pseudo_header_sum(ip.source.abi(), ip.destination.abi(), IPPROTO_TCP, length);
  tcp.checksum = static_cast<std::uint16_t>(~finish_checksum(pseudo));
  const Bytes frame = ethernet / ip / tcp / payload;
  const OffloadHeader header;
  Bytes all(sizeof header + frame.size());
  std::memcpy(all.data(), &header, sizeof header);
  std::memcpy(all.data() + sizeof header, frame.data(), frame.size());
  return all;
}

enum Kind : std::size_t { syn, handshake_ack, request, response_ack, fin, last_ack, kinds };

// The client's side of connection `number`.
std::array<Bytes, kinds> frames_of(const Options& options, std::size_t number) {
  const Ethernet ethernet{.source = MacAddress(options.client_mac), .destination = MacAddress(options.node_mac)};
  IpAddress client(options.client);
  client.bytes[15] = static_cast<std::uint8_t>(client.bytes[15] + number % kClients);
  const Ipv4 ip{.source = client, .destination = IpAddress(options.to)};
  const auto port = static_cast<std::uint16_t>(options.first_port + number / kClients);
  const std::uint32_t mine = kClientIsn + 1, theirs = BENCH_SERVER_ISN + 1;
  constexpr std::uint32_t size = kRequestBytes;
  const auto frame = [&](std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged, std::size_t payload) {
    return with_partial_checksum(ethernet, ip,
                                 Tcp{.source_port = port, .destination_port = options.port, .sequence = sequence,
                                     .acknowledgment = acknowledged, .flags = flags},
                                 Payload::of_size(payload));
  };
  return {frame(kSyn, kClientIsn, 0, 0),
          frame(kAck, mine, theirs, 0),
          frame(kPsh | kAck, mine, theirs, size),
          frame(kAck, mine + size, theirs + size, 0),
          frame(kFin | kAck, mine + size, theirs + size, 0),
          frame(kAck, mine + size + 1, theirs + size + 1, 0)};
}

class Sender {
 public:
  Sender(const std::string& ns, const std::string& interface) : fd_(open_socket(ns)) {
    const Inside inside(ns);
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    const int yes = 1;
    if (setsockopt(fd_.get(), SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) != 0 ||
        setsockopt(fd_.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) != 0 ||
        bind(fd_.get(), reinterpret_cast<sockaddr*>(&where), sizeof where) != 0) {
      fail_errno(ns + ": packet socket on " + interface);
    }
  }

  void send(std::vector<mmsghdr>& messages) const {
    for (std::size_t done = 0; done < messages.size();) {
      const int sent = sendmmsg(fd_.get(), messages.data() + done, static_cast<unsigned>(messages.size() - done), 0);
      if (sent <= 0) fail_errno("sendmmsg");
      done += static_cast<std::size_t>(sent);
    }
  }

 private:
  // Protocol 0: sends only, is given nothing.
  static int open_socket(const std::string& ns) {
    const Inside inside(ns);
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_errno(ns + ": packet socket");
    return fd;
  }
  Descriptor fd_;
};

// Messages that point into frames; made before the clock starts.
class Messages {
 public:
  void add(Bytes& frame) { parts_.push_back({frame.data(), frame.size()}); }
  std::vector<mmsghdr>& ready() {
    messages_.assign(parts_.size(), {});
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
    return messages_;
  }

 private:
  std::vector<iovec> parts_;
  std::vector<mmsghdr> messages_;
};

struct Figures {
  std::size_t count = 0;
  std::uint64_t frames = 0;
  std::uint64_t cpu_ns = 0;
  std::uint64_t wall_ns = 0;
};

// Four phases a batch; three of them are answered.
struct Batch {
  std::array<Messages, 4> phases;
  std::size_t size = 0;
};

Figures replay_connections(const Options& options, const Sender& sender, const Counts& counts, const CpuTime& cpu) {
  std::vector<std::array<Bytes, kinds>> connections;
  connections.reserve(options.count);
  for (std::size_t i = 0; i < options.count; ++i) connections.push_back(frames_of(options, i));
  std::vector<Batch> batches((options.count + kBatch - 1) / kBatch);
  for (std::size_t i = 0; i < options.count; ++i) {
    Batch& batch = batches[i / kBatch];
    ++batch.size;
    batch.phases[0].add(connections[i][syn]);
    batch.phases[1].add(connections[i][handshake_ack]);
    batch.phases[1].add(connections[i][request]);
    batch.phases[2].add(connections[i][response_ack]);
    batch.phases[2].add(connections[i][fin]);
    batch.phases[3].add(connections[i][last_ack]);
  }
  std::vector<std::array<std::vector<mmsghdr>*, 4>> ready;
  for (Batch& batch : batches) {
    ready.push_back({&batch.phases[0].ready(), &batch.phases[1].ready(), &batch.phases[2].ready(),
                     &batch.phases[3].ready()});
  }

  static constexpr std::array<const char*, 3> kAnswers{"SYN-ACKs", "responses", "FINs"};
  std::uint64_t answers = counts[BENCH_ANSWERS], swallowed = counts[BENCH_SWALLOWED];
  const std::uint64_t cpu_before = cpu.ns(), wall_before = wall_ns();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    for (std::size_t phase = 0; phase < 4; ++phase) {
      sender.send(*ready[i][phase]);
      if (phase < kAnswers.size()) {
        answers += batches[i].size;
        counts.await(BENCH_ANSWERS, answers, kAnswers[phase]);
      }
    }
    swallowed += 3 * batches[i].size;
    counts.await(BENCH_SWALLOWED, swallowed, "bare ACKs");
  }
  return {.count = options.count, .frames = options.count * 9, .cpu_ns = cpu.ns() - cpu_before,
          .wall_ns = wall_ns() - wall_before};
}

// Smallest frames of established flows, one way: a bare ACK, again and again.
Figures replay_packets(const Options& options, const Sender& sender, const Counts& counts, const CpuTime& cpu) {
  std::vector<std::array<Bytes, kinds>> connections;
  for (std::size_t i = 0; i < kBatch; ++i) connections.push_back(frames_of(options, i));
  std::array<Messages, 3> opening;
  Messages bare, closing;
  for (auto& connection : connections) {
    opening[0].add(connection[syn]);
    opening[1].add(connection[handshake_ack]);
    opening[1].add(connection[request]);
    bare.add(connection[response_ack]);
    closing.add(connection[fin]);
    closing.add(connection[last_ack]);
  }
  std::uint64_t answers = counts[BENCH_ANSWERS], swallowed = counts[BENCH_SWALLOWED];
  sender.send(opening[0].ready());
  counts.await(BENCH_ANSWERS, answers += kBatch, "SYN-ACKs");
  sender.send(opening[1].ready());
  counts.await(BENCH_ANSWERS, answers += kBatch, "responses");
  counts.await(BENCH_SWALLOWED, swallowed += kBatch, "bare ACKs");

  std::vector<mmsghdr>& frames = bare.ready();
  const std::size_t rounds = options.count / kBatch;
  const std::uint64_t cpu_before = cpu.ns(), wall_before = wall_ns();
  for (std::size_t round = 0; round < rounds; ++round) {
    sender.send(frames);
    counts.await(BENCH_SWALLOWED, swallowed += kBatch, "bare ACKs");
  }
  const Figures figures{.count = rounds * kBatch, .frames = rounds * kBatch, .cpu_ns = cpu.ns() - cpu_before,
                        .wall_ns = wall_ns() - wall_before};
  sender.send(closing.ready());
  counts.await(BENCH_ANSWERS, answers + kBatch, "FINs");
  return figures;
}

Options read_options(int argc, char** argv) {
  Options options;
  const std::map<std::string, std::string*> texts{
      {"--client-ns", &options.client_ns}, {"--client-if", &options.client_if},
      {"--client-mac", &options.client_mac}, {"--client", &options.client},
      {"--server-ns", &options.server_ns}, {"--server-if", &options.server_if},
      {"--server-mac", &options.server_mac}, {"--server-gateway-mac", &options.server_gateway_mac},
      {"--node-mac", &options.node_mac}, {"--to", &options.to}, {"--work", &options.work}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (const auto text = texts.find(name); text != texts.end()) *text->second = value;
    else if (name == "--port") options.port = static_cast<std::uint16_t>(std::stoul(value));
    else if (name == "--first-port") options.first_port = static_cast<std::uint16_t>(std::stoul(value));
    else if (name == "--count") options.count = std::stoul(value);
    else if (name == "--cpu") options.cpu = std::stoi(value);
    else fail("unknown option " + name + "; tests/bench/run calls this program");
  }
  if (argc % 2 == 0) fail("an option without a value");
  for (const auto& [name, value] : texts) {
    if (value->empty()) fail(name + " is missing; tests/bench/run calls this program");
  }
  if (options.first_port + options.count / kClients > 65535) fail("--count: not enough client ports");
  return options;
}

int run(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  libbpf_set_print(nullptr);
  struct Skeleton {
    replay_bpf* programs = replay_bpf__open_and_load();
    ~Skeleton() { replay_bpf__destroy(programs); }
  } const skeleton;
  if (skeleton.programs == nullptr) fail_errno("load the replay's programs");

  bench_setup setup{};
  if (inet_pton(AF_INET, options.to.c_str(), &setup.server_address) != 1) fail("--to: " + options.to);
  setup.server_port = htons(options.port);
  std::memcpy(setup.answer_to, MacAddress(options.server_gateway_mac).bytes.data(), 6);
  std::memcpy(setup.answer_from, MacAddress(options.server_mac).bytes.data(), 6);
  const std::uint32_t zero = 0;
  if (bpf_map_update_elem(bpf_map__fd(skeleton.programs->maps.bench_setup), &zero, &setup, BPF_ANY) != 0) {
    fail_errno("bench_setup");
  }
  const Ingress server(options.server_ns, options.server_if, bpf_program__fd(skeleton.programs->progs.bench_server));
  const Ingress sink(options.client_ns, options.client_if, bpf_program__fd(skeleton.programs->progs.bench_sink));
  const Counts counts(bpf_map__fd(skeleton.programs->maps.bench_counts));
  const Sender sender(options.client_ns, options.client_if);
  const CpuTime cpu(options.cpu);

  const Figures figures = options.work == "packets" ? replay_packets(options, sender, counts, cpu)
                                                    : replay_connections(options, sender, counts, cpu);
  std::printf("{\"count\": %zu, \"frames\": %llu, \"cpu_ns\": %.1f, \"wall_ns\": %.1f}\n", figures.count,
              static_cast<unsigned long long>(figures.frames),
              static_cast<double>(figures.cpu_ns) / static_cast<double>(figures.count),
              static_cast<double>(figures.wall_ns) / static_cast<double>(figures.count));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "replay: %s\n", problem.what());
    return 1;
  }
}
