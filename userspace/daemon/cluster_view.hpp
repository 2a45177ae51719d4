// SPDX-License-Identifier: Apache-2.0
// What `status`, `peer ls`, `why`, `drain` and `undrain` may ask of a daemon that keeps peers, by the control socket.
#pragma once

#include <vector>

#include "userspace/core/cluster.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

class ClusterView {
 public:
  virtual ~ClusterView() = default;
  [[nodiscard]] virtual const std::vector<PeerView>& peers() const = 0;  // by name
  [[nodiscard]] virtual const std::vector<VipView>& vips() const = 0;    // by address
  [[nodiscard]] virtual Drain drained() const = 0;
  // Begin, and return at once: drained() and vips() tell how far it is. Asked again, they do no harm.
  // `for_cordon`: until Kubernetes has the node uncordoned.
  virtual Result<void> drain(bool for_cordon) = 0;
  virtual Result<void> undrain() = 0;
};

}  // namespace xlb
