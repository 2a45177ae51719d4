// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/socket.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "maps/abi.h"
#include "userspace/peers/octets.hpp"

namespace xlb {

namespace {

constexpr std::size_t kFrameBytes = 2048;       // a slot of the ring: header, address and the longest frame
constexpr std::size_t kBlockBytes = 64u << 10;  // a multiple of every page size in use
constexpr std::size_t kRingBytes = PeerSocket::kRingFrames * kFrameBytes;
constexpr std::size_t kShortestFrame = 60;
constexpr std::uint16_t kVlanProtocol = 0x8100;
static_assert(kRingBytes % kBlockBytes == 0 && kBlockBytes % kFrameBytes == 0);
// Where the sender's address stands in a slot, as packet(7)'s packet_mmap document has it.
constexpr std::size_t kAddressAt = TPACKET_ALIGN(sizeof(tpacket2_hdr));

Error socket_error(const std::string& doing, const Link& link, int number = errno) {
  const char* hint = "";
  if (number == EPERM || number == EACCES) hint = " (needs root or CAP_NET_RAW)";
  if (number == ENETDOWN) hint = " (is the link down?)";
  if (number == ENXIO || number == ENODEV) hint = " (has the interface gone?)";
  if (number == EAGAIN || number == ENOBUFS) hint = " (its queue is full)";
  return Error{doing + " on " + link.name + ": " + std::strerror(number) + hint};
}

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

// The kernel stamps by the time of day, which may be set; ages are counted by a clock that only runs. The distance of
// the two is taken now, and no frame has come before the ring was last seen empty, nor after now: that bounds what a
// jump can do.
class Arrival {
 public:
  explicit Arrival(std::uint64_t emptied_ns)
      : earliest_(emptied_ns), mono_(clock_ns(CLOCK_MONOTONIC)), real_(clock_ns(CLOCK_REALTIME)) {}
  [[nodiscard]] std::uint64_t now_ns() const { return mono_; }
  [[nodiscard]] std::uint64_t at_ns(std::uint64_t stamp) const {
    const std::uint64_t age = stamp < real_ ? real_ - stamp : 0;
    return std::clamp(age < mono_ ? mono_ - age : 0, std::min(earliest_, mono_), mono_);
  }

 private:
  std::uint64_t earliest_, mono_, real_;
};

// What a statement's frame holds behind `lb_wire`; absent: it is something else.
std::optional<std::span<const std::uint8_t>> statement_in(std::span<const std::uint8_t> frame) {
  OctetReader in(frame);
  in.raw(ETH_HLEN);
  const auto magic = in.number<std::uint32_t>();
  const auto version = in.number<std::uint8_t>();
  const auto kind = in.number<std::uint8_t>();
  in.raw(sizeof(lb_wire) - 6);
  if (in.cut_short() || magic != XLB_WIRE_MAGIC || version != XLB_WIRE_VERSION || kind != XLB_WIRE_STATEMENT)
    return std::nullopt;
  return in.rest();
}

}  // namespace

void PeerSocket::Unmap::operator()(std::uint8_t* ring) const {
  munmap(ring, kRingBytes);
}

Result<PeerSocket> PeerSocket::open(const Link& link) {
  // Without a protocol until it is bound: otherwise frames of every interface would come in meanwhile.
  PeerSocket made(link, Descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!made.descriptor_) return socket_error("open a packet socket for peers", link);
  // Ahead of bulk traffic in the queue of the NIC: late is as good as lost. A queue without bands ignores it.
  const int priority = TC_PRIO_INTERACTIVE;
  if (setsockopt(made.fd(), SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority) != 0)
    return socket_error("open a packet socket for peers", link);
  if (auto ring = made.make_ring(); !ring) return ring.error();
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(XLB_ETHERTYPE);
  address.sll_ifindex = static_cast<int>(link.attach_ifindex);
  if (bind(made.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return socket_error("listen to peers", link);
  made.emptied_ns_ = clock_ns(CLOCK_MONOTONIC);
  return made;
}

Result<void> PeerSocket::make_ring() {
  const int version = TPACKET_V2;
  tpacket_req request{};
  request.tp_block_size = kBlockBytes;
  request.tp_block_nr = kRingBytes / kBlockBytes;
  request.tp_frame_size = kFrameBytes;
  request.tp_frame_nr = kRingFrames;
  if (setsockopt(fd(), SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0 ||
      setsockopt(fd(), SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0)
    return socket_error("make a ring for peers' frames", link_);
  void* ring = mmap(nullptr, kRingBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd(), 0);
  if (ring == MAP_FAILED) return socket_error("map a ring for peers' frames", link_);
  ring_.reset(static_cast<std::uint8_t*>(ring));
  return {};
}

Result<void> PeerSocket::send(const Mac& to, std::uint8_t kind, std::uint64_t nonce,
                              std::span<const std::uint8_t> datagram) {
  OctetWriter out;
  out.raw(to.bytes);
  out.raw(link_.mac.bytes);
  if (link_.vlan != 0) {
    out.number(kVlanProtocol);
    out.number(link_.vlan);
  }
  out.number(static_cast<std::uint16_t>(XLB_ETHERTYPE));
  out.number(static_cast<std::uint32_t>(XLB_WIRE_MAGIC));
  out.number(static_cast<std::uint8_t>(XLB_WIRE_VERSION));
  out.number(kind);
  out.number(std::uint16_t{0});                     // flags, padding
  std::array<std::uint8_t, sizeof nonce> opaque{};  // in the machine's own order: it is for this node alone to read
  std::memcpy(opaque.data(), &nonce, sizeof nonce);
  out.raw(opaque);
  out.raw(datagram);
  Octets frame = out.take();
  if (frame.size() < kShortestFrame) frame.resize(kShortestFrame);

  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(link_.attach_ifindex);
  while (sendto(fd(), frame.data(), frame.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address),
                sizeof address) < 0) {
    if (errno != EINTR) return socket_error("send to " + to.text(), link_);
  }
  return {};
}

Result<void> PeerSocket::send_echo(const Mac& to, std::uint64_t nonce) {
  return send(to, XLB_WIRE_ECHO, nonce, {});
}

Result<void> PeerSocket::send_statement(const Mac& to, std::span<const std::uint8_t> datagram) {
  return send(to, XLB_WIRE_STATEMENT, 0, datagram);
}

std::size_t PeerSocket::receive(std::size_t most, const std::function<void(const Received&)>& take) {
  const Arrival arrival(emptied_ns_);
  for (std::size_t count = 0; count < most; ++count) {
    std::uint8_t* slot = ring_.get() + next_ * kFrameBytes;
    auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
    if ((__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) {
      emptied_ns_ = arrival.now_ns();
      if (count == 0) take_error();
      return count;
    }
    sockaddr_ll from{};
    std::memcpy(&from, slot + kAddressAt, sizeof from);
    const bool ours =
        static_cast<std::uint32_t>(from.sll_ifindex) == link_.l3_ifindex;  // another VLAN is another link
    const bool to_us = from.sll_pkttype != PACKET_OTHERHOST && from.sll_pkttype != PACKET_OUTGOING;
    if (ours && to_us && header->tp_snaplen == header->tp_len) {
      const std::span<const std::uint8_t> frame(slot + header->tp_mac, header->tp_snaplen);
      if (const auto datagram = statement_in(frame)) {
        Received received;
        std::copy_n(frame.begin() + ETH_ALEN, ETH_ALEN, received.from.bytes.begin());
        received.to_all = from.sll_pkttype == PACKET_BROADCAST;
        received.at_ns = arrival.at_ns(header->tp_sec * XLB_SECOND_NS + header->tp_nsec);
        received.datagram = *datagram;
        take(received);
      }
    }
    __atomic_store_n(&header->tp_status, static_cast<std::uint32_t>(TP_STATUS_KERNEL), __ATOMIC_RELEASE);
    next_ = (next_ + 1) % kRingFrames;
  }
  return most;
}

// A link that goes down leaves an error on the socket, which keeps the descriptor readable until somebody asks for it. When the
// link is up again frames come as before.
void PeerSocket::take_error() const {
  int error = 0;
  socklen_t length = sizeof error;
  (void)getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &length);
}

std::uint32_t PeerSocket::lost() const {
  tpacket_stats statistics{};
  socklen_t length = sizeof statistics;
  if (getsockopt(fd(), SOL_PACKET, PACKET_STATISTICS, &statistics, &length) != 0) return 0;
  return statistics.tp_drops;
}

}  // namespace xlb
