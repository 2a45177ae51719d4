// SPDX-License-Identifier: Apache-2.0
// How one kind is followed: what to ask the server next, and when. A value with steps; time and chance are
// parameters, the network is somebody else's.
//
// A list comes in pages. Behind the last one a watch begins at the list's version and goes on at the version of
// whatever it said last, bookmarks included, each time the server or the network ends it. Only what shows that the
// version is of no use, or that something was missed, leads back to a list from nothing:
//
//   410, by status or as an event      the version is too old
//   504, "Too large resource version"  it is from the future: the server was restored from an older copy
//   any other ERROR event, nonsense    whatever it meant, it was not said
//   no line for 90 s                   bookmarks come every minute: nobody is there, or the version is from the
//   future;
//                                      watches that something on the way cuts sooner count together
//
// Everything that fails is tried again later each time, by doubling, up to 30 s, at a random moment of the second
// half of the wait so that nodes do not come together. Only a watch that has held for a while ends the series: a
// server that accepts and then fails is asked no faster than one that is not there.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "userspace/kube/watch_pace.hpp"

namespace xlb {

class Watch {
 public:
  using Time = std::chrono::nanoseconds;  // of a clock that only goes forward

  // How sentences call it, and whether the server may not have it at all.
  struct Subject {
    std::string resource;  // "endpointslices"
    std::string group;     // "discovery.k8s.io"; empty: the core's
    bool optional = false;
  };
  explicit Watch(Subject subject, WatchPace pace = {}) : subject_(std::move(subject)), pace_(pace) {}

  struct Question {
    bool watch = false;             // false: a page of a list
    std::string query;              // "limit=250&continue=…"
    bool fresh_connection = false;  // the one in use has failed
  };
  enum class Objects : std::uint8_t {
    keep,    // nothing happens to them
    forget,  // those of the list that has not ended
    commit,  // that list is complete: it is the whole now
    absent,  // the server does not know the kind
  };
  struct Reaction {
    Objects objects = Objects::keep;
    bool give_up = false;            // the question under way is to be cancelled; nothing more is to be told of it
    bool renew_credentials = false;  // the server does not know us
    std::string trouble;             // a sentence, of what is in the way; said each time
    bool over = false;               // what was in the way no longer is
  };

  struct Failure {
    enum class Kind : std::uint8_t { unreachable, cut, status, event, too_long, nonsense };
    Kind kind = Kind::unreachable;
    unsigned status = 0;  // of `status` and `event`
    std::string text;     // what was said
    Time retry_after{0};  // what the server asked for
  };

  // `chance`: of [0, 1), another for each call.
  std::optional<Question> ask(Time now, double chance);  // it is under way from now on
  Reaction tick(Time now, double chance);
  [[nodiscard]] Time wake() const;  // when ask() and tick() are to be called at the latest

  Reaction page(const std::string& version, const std::string& more, Time now, double chance);  // of a list
  void opened(Time now);                                             // the watch was accepted
  void line(const std::string& version, Time now);                   // an event or a bookmark
  Reaction ended(Time now, double chance);                           // the watch, in good order
  Reaction failed(const Failure& failure, Time now, double chance);  // list or watch

  [[nodiscard]] bool troubled() const { return troubled_; }

 private:
  enum class Phase : std::uint8_t { list, watch };

  void wait(Time now, double chance, Time at_least = Time{0});
  Reaction from_nothing(Time now, double chance);
  Reaction again(Time now, double chance);
  Reaction cut(const Failure& failure, Time now, double chance);
  [[nodiscard]] std::string verb() const { return phase_ == Phase::list ? "list" : "watch"; }
  [[nodiscard]] std::string refused(const Failure& failure) const;
  Reaction failed_status(const Failure& failure, Time now, double chance);
  void settle(Time now);

  Subject subject_;
  WatchPace pace_;
  Phase phase_ = Phase::list;
  bool under_way_ = false;
  bool opened_ = false;
  std::string version_;  // to watch from
  std::string more_;     // token of the next page
  unsigned pages_ = 0;   // of this list that came
  unsigned page_ = 0;    // smaller than the pace's, once a page was too long
  bool fresh_ = false;
  unsigned failures_ = 0;                      // in a row
  unsigned alike_ = 0;                         // of the same sort, in a row
  std::pair<Failure::Kind, unsigned> sort_{};  // of the last one, with its status
  unsigned cuts_ = 0;                          // since something else has happened
  bool troubled_ = false;
  bool told_ = false;  // a trouble was told and its end was not
  Time next_{0};       // not before
  Time heard_{0};      // the last line of this watch, or its beginning
  Time unheard_{0};    // for how long watches before this one have said nothing
  Time opened_at_{0};
};

}  // namespace xlb
