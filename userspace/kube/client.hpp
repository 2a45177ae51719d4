// SPDX-License-Identifier: Apache-2.0
// The two sides of an ApiServer. What the loop's thread and the client's thread share stands together, under one
// mutex that is held for a move of pointers; all else belongs to the client's thread.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "userspace/kube/api_server.hpp"
#include "userspace/kube/store.hpp"
#include "userspace/kube/transport.hpp"
#include "userspace/kube/troubles.hpp"
#include "userspace/kube/watch.hpp"

namespace xlb {

class ApiServer::Client {
 public:
  static Result<std::unique_ptr<Client>> start(ApiCredentials credentials, ApiSettings settings);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  [[nodiscard]] int ready_fd() const { return ready_; }
  bool drain();
  [[nodiscard]] std::shared_ptr<const ApiState> state() const;
  void request(ApiRequest request, std::function<void(const ApiAnswer&)> answered);
  std::vector<std::string> take_troubles();
  [[nodiscard]] ApiContact contact() const;
  [[nodiscard]] ApiCounters counters() const;

 private:
  using Time = Watch::Time;
  using RequestId = std::uint64_t;

  struct Followed {
    ApiKind kind;
    Watch watch;
    Transport::Id call = 0;                 // under way; 0: none
    std::optional<Watch::Failure> failure;  // what a line had wrong, told when the call has ended
  };
  struct Asked {
    RequestId id = 0;
    ApiRequest request;
    bool again = false;  // it was refused for its credentials once, and sent with new ones
  };

  Client(ApiCredentials credentials, Identity identity, ApiSettings settings);

  // ---- the client's thread ----
  static void* enter(void* client);
  void run();
  [[nodiscard]] static Time now();
  double chance();
  void step(Followed& followed);
  void begin(Followed& followed, const Watch::Question& question);
  bool heard(Followed& followed, std::string_view line);
  void watch_ended(Followed& followed, const Outcome& outcome);
  void list_ended(Followed& followed, const Outcome& outcome);
  void react(Followed& followed, const Watch::Reaction& reaction);
  void fail(Followed& followed, const Watch::Failure& failure);
  void count(const ReadObject& object);
  void refresh_identity();
  void renew_identity(Time least_distance);
  void take_requests();
  void send(Asked asked);
  void answered(const Asked& asked, const Outcome& outcome);
  void publish();
  void signal() const;

  ApiCredentials credentials_;
  Identity identity_;
  const ApiSettings settings_;
  Time identity_read_{0};
  Time renewed_{0};
  std::unique_ptr<Transport> transport_;
  std::vector<Followed> followed_;
  Store store_;
  Troubles said_;
  std::string last_trouble_;
  std::minstd_rand random_;
  std::size_t requests_under_way_ = 0;
  std::optional<Time> changed_at_;
  Time published_at_{0};
  bool first_published_ = false;
  ApiCounters counts_;

  // ---- the loop's thread ----
  RequestId next_request_ = 1;
  std::map<RequestId, std::function<void(const ApiAnswer&)>> callbacks_;
  std::shared_ptr<const ApiState> drained_;

  // ---- both ----
  int ready_ = -1;  // eventfd
  pthread_t thread_{};
  bool running_ = false;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::deque<Asked> asked_;
  std::vector<std::pair<RequestId, ApiAnswer>> answers_;
  std::shared_ptr<const ApiState> state_;
  std::vector<std::string> troubles_;
  ApiContact contact_;
  ApiCounters counters_;
};

}  // namespace xlb
