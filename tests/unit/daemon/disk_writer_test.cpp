// SPDX-License-Identifier: Apache-2.0
// A disk that takes its time, by an fsync() of our own before the C library's: the loop goes on turning, and what was promised
// about the order of things holds.
#include "userspace/daemon/disk_writer.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "tests/unit/daemon/fakes.hpp"
#include "userspace/daemon/waiting_requests.hpp"

namespace {

std::atomic<int> syncs{0};
std::atomic<int> sync_takes_ms{0};
std::atomic<bool> sync_fails{false};

}  // namespace

extern "C" int fsync(int fd) {
  ++syncs;
  if (sync_takes_ms != 0) usleep(static_cast<useconds_t>(sync_takes_ms) * 1000);
  if (sync_fails) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace xlb {
namespace {

using namespace std::chrono_literals;
using fake::address;
using fake::has;

std::string web(const std::string& name) {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name +
         "}\nspec: {type: LoadBalancer, ports: [{name: http, port: 80, targetPort: 8000}]}\n---\n"
         "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
         "metadata: {name: " + name + "-1, labels: {kubernetes.io/service-name: " + name + "}}\naddressType: IPv4\n"
         "ports: [{name: http, port: 8000, protocol: TCP}]\nendpoints: [{addresses: [\"10.42.0.8\"]}]\n";
}

const char* const kPool = R"(apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: home, namespace: metallb-system}
spec: {addresses: ["192.168.0.200-192.168.0.250"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: home, namespace: metallb-system}
)";

class SlowDiskTest : public testing::Test {
 protected:
  SlowDiskTest()
      : loop_(std::move(*Loop::open())),
        reconciler_(folder_.settings(), fake::edges(world_)),
        waiting_(loop_, reconciler_,
                 {[this](const Outcome& outcome) { done_.push_back(outcome); },
                  [this](WaitingRequests::Connection connection, const std::string& line) {
                    answers_.emplace_back(connection, line);
                  }}),
        disk_(std::move(*DiskWriter::open(loop_))) {
    world_.attached = {{"eth0", 2, AttachMode::tc, "test", {"xlb_lan_tc"}}};
    world_.places[address("10.42.0.8")] = {Place::Kind::pod, 7, "veth7", "found"};
    reconciler_.write_by([this](auto work, auto done) { disk_->write(std::move(work), std::move(done)); },
                         [this](const Result<void>& result) {
                           written_.push_back(result);
                           if (!waiting_.wrote(result) && result) went_on_ = pass();
                         });
    beat();
  }
  ~SlowDiskTest() override {
    sync_takes_ms = 0;
    sync_fails = false;
  }
  Result<Outcome> pass() { return reconciler_.reconcile({.place_patience = 0ms, .announcements = 1, .waits = false}); }
  void drop(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(folder_.settings().manifests());
    std::ofstream(folder_.settings().manifests() / name) << text;
  }
  void apply(int connection, const std::string& text) {
    waiting_.take(connection, make_request(folder_.settings(), ApplyRequest{{{"web.yaml", text}}}));
  }
  // What renews a lease: something that is due every few milliseconds.
  void beat() {
    const auto now = Loop::Clock::now();
    if (beaten_ != Loop::Clock::time_point{}) longest_ = std::max(longest_, now - beaten_);
    beaten_ = now;
    loop_.at(now + 5ms, [this] { beat(); });
  }
  template <typename Ready>
  bool turn_until(Ready ready) {
    const auto last = Loop::Clock::now() + 20s;
    while (!ready() && Loop::Clock::now() < last) EXPECT_TRUE(loop_.turn(Loop::Clock::now() + 5ms));
    return ready();
  }
  std::optional<Outcome> outcome(std::size_t index) {
    auto answer = decode_answer(answers_.at(index).second);
    if (!answer || !std::holds_alternative<Outcome>(*answer)) return std::nullopt;
    return std::get<Outcome>(*answer);
  }
  bool served(const std::string& vip) { return world_.tables.vips.contains(address(vip)); }

  fake::World world_;
  fake::Folder folder_;
  Loop loop_;
  Reconciler reconciler_;
  std::vector<Outcome> done_;
  std::vector<std::pair<int, std::string>> answers_;
  std::vector<Result<void>> written_;
  std::optional<Result<Outcome>> went_on_;
  WaitingRequests waiting_;
  std::unique_ptr<DiskWriter> disk_;
  Loop::Clock::time_point beaten_{};
  Loop::Clock::duration longest_{};
};

TEST_F(SlowDiskTest, TheLoopTurnsWhileAChangeIsWritten) {
  sync_takes_ms = 600;
  syncs = 0;
  const auto since = Loop::Clock::now();
  apply(3, kPool + std::string("---\n") + web("web"));
  EXPECT_LT(Loop::Clock::now() - since, 500ms) << "taken without a sync";
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(turn_until([] { return syncs == 1; }));
  EXPECT_EQ(world_.edits, 0u) << "nothing is served that a power cut would forget";
  ASSERT_TRUE(turn_until([&] { return !answers_.empty(); }));
  EXPECT_GE(syncs, 4) << "manifests and the state, files and folders";
  EXPECT_GE(Loop::Clock::now() - since, 4 * 600ms) << "what is told is on the disk";
  EXPECT_LT(longest_, 500ms) << "the lease was renewed all the time";
  ASSERT_TRUE(outcome(0));
  EXPECT_EQ(outcome(0)->changes.size(), 4u);
  EXPECT_EQ(outcome(0)->changes[0].change, Change::created);
  ASSERT_EQ(outcome(0)->services.size(), 1u);
  EXPECT_EQ(outcome(0)->services[0].addresses, (std::vector<Address>{address("192.168.0.200")}));
  EXPECT_EQ(outcome(0)->taken.size(), 1u);
  EXPECT_TRUE(served("192.168.0.200"));
  ASSERT_EQ(done_.size(), 1u) << "the daemon hears of it once, when it is in force";
  EXPECT_EQ(done_[0].services.size(), 1u);
}

TEST_F(SlowDiskTest, APassGoesOnWhenItsStateIsWritten) {
  drop("home.yaml", kPool);
  drop("web.yaml", web("web"));
  sync_takes_ms = 300;
  auto first = pass();
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_EQ(first->deferred, Outcome::Deferred::disk);
  EXPECT_EQ(world_.edits, 0u);
  auto meanwhile = pass();
  ASSERT_TRUE(meanwhile);
  EXPECT_EQ(meanwhile->deferred, Outcome::Deferred::lock) << "nobody comes between";
  ASSERT_TRUE(turn_until([&] { return went_on_.has_value(); }));
  ASSERT_TRUE(*went_on_) << went_on_->error().text;
  EXPECT_EQ((*went_on_)->deferred, Outcome::Deferred::no);
  EXPECT_EQ((*went_on_)->services.size(), 1u) << "told once it is in force";
  EXPECT_TRUE(served("192.168.0.200"));
  EXPECT_LT(longest_, 250ms);
  auto other = Lock::try_take(folder_.settings().lock_file());
  EXPECT_TRUE(other && *other) << "the lock is let go";
}

// Services that come faster than the disk writes must not keep those before them waiting for ever.
TEST_F(SlowDiskTest, WhatWasWrittenIsCarriedOutHoweverMuchIsDeclaredMeanwhile) {
  drop("home.yaml", kPool);
  drop("a.yaml", web("a"));
  sync_takes_ms = 50;
  ASSERT_TRUE(pass());
  drop("b.yaml", web("b"));
  ASSERT_TRUE(turn_until([&] { return went_on_.has_value(); }));
  EXPECT_TRUE(served("192.168.0.200"));
  EXPECT_FALSE(served("192.168.0.201"));
  went_on_.reset();
  auto next = pass();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->deferred, Outcome::Deferred::disk);
  ASSERT_TRUE(turn_until([&] { return went_on_.has_value(); }));
  EXPECT_TRUE(served("192.168.0.201"));
}

TEST_F(SlowDiskTest, ADiskThatFailsRefusesTheChange) {
  sync_fails = true;
  apply(3, kPool + std::string("---\n") + web("web"));
  ASSERT_TRUE(turn_until([&] { return !answers_.empty(); }));
  EXPECT_TRUE(has(answers_[0].second, "Input/output error"));
  EXPECT_FALSE(has(answers_[0].second, "in force"));
  EXPECT_EQ(world_.edits, 0u);
  EXPECT_TRUE(folder_.content().empty());
  sync_fails = false;
  answers_.clear();
  apply(3, kPool + std::string("---\n") + web("web"));
  ASSERT_TRUE(turn_until([&] { return !answers_.empty(); }));
  EXPECT_TRUE(outcome(0));
  EXPECT_TRUE(served("192.168.0.200"));
}

TEST_F(SlowDiskTest, WhoHasGoneMeanwhileIsNotMissed) {
  sync_takes_ms = 50;
  apply(3, kPool + std::string("---\n") + web("web"));
  waiting_.forget(3);
  ASSERT_TRUE(turn_until([&] { return went_on_.has_value(); }));
  EXPECT_TRUE(served("192.168.0.200")) << "it is declared, so it is carried out";
  EXPECT_TRUE(answers_.empty());
}

TEST_F(SlowDiskTest, TwoChangesComeOneAfterTheOther) {
  sync_takes_ms = 50;
  apply(3, kPool + std::string("---\n") + web("a"));
  apply(4, web("b"));
  waiting_.wire_answered();  // disturbs nobody
  ASSERT_TRUE(turn_until([&] { return answers_.size() == 2; }));
  EXPECT_EQ(answers_[0].first, 3);
  EXPECT_EQ(answers_[1].first, 4);
  EXPECT_TRUE(served("192.168.0.200"));
  EXPECT_TRUE(served("192.168.0.201"));
}

TEST_F(SlowDiskTest, WhatIsUnderWayAtTheEndIsWritten) {
  sync_takes_ms = 100;
  apply(3, kPool + std::string("---\n") + web("web"));
  disk_.reset();
  EXPECT_TRUE(std::filesystem::exists(folder_.settings().state_file()));
  auto state = read_state(folder_.settings().state_file());
  ASSERT_TRUE(state);
  EXPECT_EQ(state->held.size(), 1u);
}

}  // namespace
}  // namespace xlb
