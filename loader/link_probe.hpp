// SPDX-License-Identifier: Apache-2.0
// Are these addresses free on a link? Ask, as a host does before it takes an address (RFC 5227, 2.1; RFC 4862, 5.4), and
// listen. Whoever claims one by any ARP or neighbour advertisement meanwhile has it. Of two who ask at the same time the RFCs let
// neither have it; here the one with the lower MAC asks once more from the start, and has it if the other has given way; who
// asks in three rounds in a row, or still in the eighth, has it. Two nodes that do not know of each other would otherwise leave an
// address to each other for ever.
// A step at a time: whoever drives it waits by poll(), or by a loop that does other things meanwhile.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <vector>

#include "loader/announcer.hpp"
#include "loader/packet_socket.hpp"

namespace xlb {

class LinkProbe {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Pace {
    int count = 3;                            // questions for each address
    std::chrono::milliseconds interval{200};  // between them, and until the silence after the last one is an answer
  };

  // Frames from `own` MACs do not count. RFC 5227's pace (1 to 2 s) would keep a user waiting; an answer that is later than
  // ours is still found as a conflict by the programs.
  static Result<LinkProbe> open(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own, Pace pace);
  static Result<LinkProbe> open(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own) {
    return open(link, addresses, own, Pace());
  }

  // Sends what is due, and says when it wants to be called again. First called: the first question goes out.
  Result<Time> step(Time now);
  // Takes in the frames that came; to be called when a descriptor is readable.
  void listen();
  // Everybody has answered, or the time for it is over. Not while somebody else asks the same: step() begins another round then.
  [[nodiscard]] bool over(Time now) const;

  [[nodiscard]] std::vector<int> descriptors() const;
  [[nodiscard]] const std::map<Address, Mac>& holders() const { return holders_; }  // of those that are taken

 private:
  LinkProbe(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own, Pace pace)
      : mac_(link.mac), addresses_(addresses.begin(), addresses.end()), own_(own), pace_(pace), asked_for_(addresses_) {}

  struct Rival {
    Mac mac;
    int rounds = 0;  // in which it asked, one after the other
  };
  void end_round();

  Mac mac_;
  std::set<Address> addresses_;
  std::set<Mac> own_;
  Pace pace_;
  std::vector<PacketSocket> sockets_;
  std::map<Family, std::size_t> socket_of_;
  int asked_ = 0;                        // questions sent in this round, for each address
  Time next_{};                          // of the next question, or the end of the last silence
  int rounds_ = 0;                       // that are over, and in which somebody else asked
  std::set<Address> asked_for_;          // in this round
  std::map<Address, Mac> rivals_;        // who asks the same in this round, with a MAC above ours
  std::map<Address, Rival> persistent_;  // and in the rounds before
  std::map<Address, Mac> holders_;
};

struct ProbeAnswer {
  Address address;
  Mac mac;
};
// The same, waiting until it is over.
Result<std::vector<ProbeAnswer>> probe_addresses(const Link& link, const std::vector<Address>& addresses,
                                                 const std::set<Mac>& own, LinkProbe::Pace pace);
inline Result<std::vector<ProbeAnswer>> probe_addresses(const Link& link, const std::vector<Address>& addresses,
                                                        const std::set<Mac>& own) {
  return probe_addresses(link, addresses, own, LinkProbe::Pace());
}

}  // namespace xlb
