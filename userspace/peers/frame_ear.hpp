// SPDX-License-Identifier: Apache-2.0
// Does anything at all arrive on this link? Asked only when every peer is silent: a node that hears no frame is cut
// off and must not take VIPs over; one that hears frames, but no peer, is the last that lives.
//
// A packet socket for every protocol whose filter runs in the kernel, open only while the question stands. Counters
// of the interface would cost nothing, but count what a dead switch's own port keeps sending. Its cost while it is
// open is the filter; the first frame that passes fills its buffer.
//
// Not counted: what this node sends, its own frames that come back, and what switches say by themselves (01:80:c2…,
// IEEE 802.1D and LLDP; 01:00:0c…, the same by Cisco). Not seen: what the programs take before the stack does, which
// are echoes that come home and questions for VIPs that this node owns; the caller knows of the former, and asks the
// gateway and neighbours, whose answers arrive here.
#pragma once

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"
#include "userspace/peers/descriptor.hpp"

namespace xlb {

class FrameEar {
 public:
  // Listens from now on; of a VLAN, to that VLAN.
  static Result<FrameEar> open(const Link& link);

  // Whether a frame has arrived since it was opened, or since the last call.
  [[nodiscard]] bool heard() const;
  [[nodiscard]] int fd() const { return descriptor_.get(); }  // readable when one has

 private:
  explicit FrameEar(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}
  Descriptor descriptor_;
};

}  // namespace xlb
