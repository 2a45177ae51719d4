// SPDX-License-Identifier: Apache-2.0
// Attaching, swapping and detaching, each as one act: it is done, or what was there is still there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loader/data_plane.hpp"
#include "loader/kept_lists.hpp"
#include "loader/kernel_tables.hpp"
#include "loader/machine.hpp"
#include "loader/netlink_socket.hpp"
#include "loader/pins.hpp"
#include "loader/programs.hpp"

namespace xlb {

class Attachment {
 public:
  static Result<Attachment> open(const Pins& pins, KeptLists& lists);

  Result<AttachedLink> attach(const AttachRequest& request);
  Result<void> detach(const std::string& interface);
  Result<void> detach_all();
  Result<void> upgrade();
  Result<std::vector<AttachedLink>> attached();

  // xlb_return on a pod's veth. Taking it from a veth that has gone succeeds.
  Result<void> put_return(const KernelTables& tables, std::uint32_t veth);
  Result<void> remove_return(const KernelTables& tables, std::uint32_t veth);
  // Of these veths those that really carry it.
  Result<std::set<std::uint32_t>> returns_among(const std::set<std::uint32_t>& veths);
  NetlinkSocket& netlink() { return socket_; }

 private:
  Attachment(const Pins& pins, KeptLists& lists, KeptLists::Kept<KeptLists::Interfaces> interfaces)
      : pins_(pins), lists_(lists), socket_(lists.requests()), interfaces_(std::move(interfaces)) {}

  using Rows = std::map<LinkKey, lb_link>;
  class Undo;

  Result<std::string> refuse_other_abi();
  Result<bool> anything_attached();
  Result<void> swap(const Rows& rows, const Programs& programs);
  Result<void> forget_gone_links(const KernelTables& tables, Rows& rows);
  Result<void> write_rows(const KernelTables& tables, Rows& rows, const InterfaceFacts& interface);
  // Whether XDP may hand flows over, noted in the rows of the interface and its VLANs.
  Result<void> note_sending(const KernelTables& tables, Rows& rows, const InterfaceFacts& interface, bool sends);
  // The clsact qdisc, noted in the row before it is made, so that a crash leaves none that nobody knows of.
  Result<void> ensure_qdisc(const KernelTables& tables, std::uint32_t ifindex);
  Result<void> take_link_away(const KernelTables& tables, const Rows& rows, std::uint32_t ifindex);
  Result<void> take_everything_away();
  Result<void> sweep_filters(bool qdisc_is_ours);
  [[nodiscard]] std::string name_of(std::uint32_t ifindex) const;

  const Pins& pins_;
  KeptLists& lists_;
  NetlinkSocket& socket_;
  KeptLists::Kept<KeptLists::Interfaces> interfaces_;  // as they were when it was opened
};

}  // namespace xlb
