// SPDX-License-Identifier: Apache-2.0
// The Kubernetes API server, as the daemon sees it: a state that is always whole, requests that are answered later,
// and a descriptor that says when there is something to look at.
//
// Threads. One thread belongs to an ApiServer; it talks, waits and parses. Everything below is called from one other
// thread, the daemon's loop, and none of it waits for the network: ready_fd() becomes readable, the loop calls
// drain(), which runs the callbacks of answered requests in the loop's thread and empties the descriptor; then
// state() and take_troubles() say what is new. Callbacks may call request(); they may not end the ApiServer.
//
// The state. There is none until each kind has been listed once. From then on it is exchanged as a whole, a burst of
// changes at once: while the server cannot be reached it stays, and after a list what is gone from the list is gone.
// A state that was fetched belongs to whoever holds the pointer. It shares with the client and with other states
// whatever has not changed between them, so that holding one costs little.
//
// Errors. A server that does not answer, refuses or talks nonsense is no error of a call: it is asked again, later
// and later (30 s at most), and said once in take_troubles(), and once more when it is over. connect() fails only for
// what no waiting helps: credentials that make no sense, no libcurl on this machine.
//
// The end. The destructor stops the thread within a second, closes every descriptor, and drops the callbacks that
// were not called yet; requests under way may or may not have reached the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace/core/api_credentials.hpp"
#include "userspace/core/api_objects.hpp"
#include "userspace/core/api_request.hpp"
#include "userspace/core/result.hpp"
#include "userspace/kube/watch_pace.hpp"

namespace xlb {

struct ApiSettings {
  std::string ns = "metallb-system";  // our own: pools, advertisements, leases and reports are looked for only here
  std::string node;                   // pods of this node only; empty: of all nodes
  std::chrono::milliseconds gather{10};    // a change waits this long for others, so that a short burst gives one state
  std::chrono::milliseconds distance{50};  // between two states, at least
  // Asked for new credentials when the server has refused the ones in use, or their files cannot be read; may be
  // empty. Runs in the ApiServer's thread. For a kubeconfig, which is written anew when its certificates are: read it
  // again.
  std::function<Result<ApiCredentials>()> again;
  WatchPace pace;
};

struct ApiCounters {
  std::uint64_t updates = 0;        // objects that came, by list or watch: metallb_k8s_client_updates_total
  std::uint64_t update_errors = 0;  // of them, those that could not be read: metallb_k8s_client_update_errors_total
  std::uint64_t lists = 0;          // that were begun, of any kind
  std::uint64_t watches = 0;        // that were begun
  std::uint64_t failures = 0;       // lists, watches and requests that failed, for whatever reason
  std::uint64_t requests = 0;       // of request()
  std::uint64_t states = 0;         // that were handed out
};

// Is the server there?
struct ApiContact {
  bool reached = false;                         // every kind is being watched or was listed
  std::string trouble;                          // why not, as it was said last
  std::chrono::steady_clock::time_point since;  // it has been so
};

// What a pod finds about itself: KUBERNETES_SERVICE_HOST and …_PORT, and the files that are mounted under `folder`.
Result<ApiCredentials> in_cluster_credentials(
    const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

class ApiServer {
 public:
  // Starts talking. The first state comes when it comes; nobody waits for it here.
  static Result<std::unique_ptr<ApiServer>> connect(ApiCredentials credentials, ApiSettings settings);
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;
  ~ApiServer();

  // Readable (level-triggered) while drain() has something to do.
  [[nodiscard]] int ready_fd() const;
  // Runs callbacks; true: state() is another one than at the last drain().
  bool drain();
  // Null until each kind was listed once.
  [[nodiscard]] std::shared_ptr<const ApiState> state() const;
  // `answered` runs in drain(), exactly once, unless the ApiServer ends before. Requests run side by side, in no
  // order; who needs an order asks the next question in the answer's callback.
  void request(ApiRequest request, std::function<void(const ApiAnswer&)> answered);
  // Sentences since the last call, each trouble once until it is over.
  std::vector<std::string> take_troubles();
  [[nodiscard]] ApiContact contact() const;
  [[nodiscard]] ApiCounters counters() const;

 private:
  class Client;
  explicit ApiServer(std::unique_ptr<Client> client);
  std::unique_ptr<Client> client_;
};

}  // namespace xlb
