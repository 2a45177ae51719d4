// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/frame_ear.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace xlb {

namespace {

constexpr std::uint32_t kSwitches = 0x0180c2, kCisco = 0x01000c;  // first half of the destination

std::uint32_t big_endian(const std::uint8_t* bytes, int count) {
  std::uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

}  // namespace

Result<FrameEar> FrameEar::open(const Link& link) {
  const auto error = [&link](const char* doing) {
    return Error{std::string(doing) + " on " + link.l3_name + ": " + std::strerror(errno) +
                 (errno == EPERM ? " (needs root or CAP_NET_RAW)" : "")};
  };
  FrameEar made(Descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
  if (!made.descriptor_) return error("open a packet socket to hear any frame");
  // One byte of a frame is enough. Jumps count from the next instruction; the last two are "no" and "yes".
  std::array<sock_filter, 12> filter = {{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, static_cast<__u32>(SKF_AD_OFF + SKF_AD_PKTTYPE)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 8, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 8),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSwitches, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kCisco, 4, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ETH_ALEN),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, big_endian(link.mac.bytes.data(), 4), 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_ALEN + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, big_endian(link.mac.bytes.data() + 4, 2), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 1),
  }};
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  const int smallest = 0;  // the kernel has a least of its own
  if (setsockopt(made.fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      setsockopt(made.fd(), SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest) != 0)
    return error("set a packet socket up to hear any frame");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(link.l3_ifindex);
  if (bind(made.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return error("listen for any frame");
  return made;
}

bool FrameEar::heard() const {
  // Bounded, because a flood fills the buffer as fast as it is read. An error (the link went down) stands before what
  // waits behind it.
  bool any = false;
  std::array<char, 1> byte{};
  for (int reads = 0; reads < 64; ++reads) {
    if (recv(fd(), byte.data(), byte.size(), MSG_DONTWAIT) >= 0)
      any = true;
    else if (errno == EAGAIN)
      break;
  }
  return any;
}

}  // namespace xlb
