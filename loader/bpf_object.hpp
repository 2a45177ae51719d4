// SPDX-License-Identifier: Apache-2.0
// The BPF object inside this binary. It is opened anew for each use, of which one makes some of the tables, another
// loads some of the programs: what is not wanted is switched off before load(). Nearly all the time of an attach goes
// into the kernel's verifier and into clearing memory for tables, so uses are loaded side by side, in two threads.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "userspace/core/result.hpp"

struct xdp_lb_bpf;

namespace xlb {

class BpfObject {
 public:
  static Result<BpfObject> open();

  [[nodiscard]] bpf_object* get() const;
  // Makes the maps and loads the programs that are not switched off. The error says what this kernel lacks, or the
  // verifier's words.
  Result<void> load();

  // Which build this is: "build-" and a hash of the object.
  static std::string stamp();

 private:
  struct Destroy {
    void operator()(xdp_lb_bpf* skeleton) const;
  };
  explicit BpfObject(xdp_lb_bpf* skeleton) : skeleton_(skeleton) {}

  std::unique_ptr<xdp_lb_bpf, Destroy> skeleton_;
};

// Runs both, the first in a thread of its own where one can be had, and returns when both have ended.
template <typename First, typename Second>
void side_by_side(const First& first, const Second& second) {
  std::jthread thread;
  try {
    thread = std::jthread([&first] { first(); });
  } catch (const std::system_error&) {
    first();
  }
  second();
}

}  // namespace xlb
