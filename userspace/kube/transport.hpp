// SPDX-License-Identifier: Apache-2.0
// HTTP, many exchanges at once, on the thread that calls turn(): libcurl with what an API server needs of it. Nothing
// here knows Kubernetes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/result.hpp"
#include "userspace/kube/curl_table.hpp"
#include "userspace/kube/identity.hpp"
#include "userspace/kube/lines.hpp"

namespace xlb {

struct Exchange {
  std::string method = "GET";
  std::string path;  // with its query
  std::string body;
  std::string content_type;           // of the body
  std::chrono::milliseconds timeout{0};  // for all of it; 0: none, whoever asks watches it
  std::size_t most_bytes = 0;         // of the answer
  bool fresh_connection = false;
  // An answer of 200 is not gathered but handed over line by line. `opened` runs before the first of them; `line`
  // returns false to end the exchange.
  std::size_t longest_line = 0;
  std::function<void()> opened;
  std::function<bool(std::string_view)> line;
};

struct Outcome {
  unsigned status = 0;    // 0: no answer
  std::string body;       // unless it went out in lines
  std::string error;      // no answer, or not all of one: why
  bool cut = false;       // that was the end of a connection that had been made
  bool too_long = false;  // the body, or a line
  bool stopped = false;   // by `line`
  std::chrono::seconds retry_after{0};
};

class Transport {
 public:
  using Id = std::uint64_t;
  static Result<std::unique_ptr<Transport>> open(const CurlTable& curl);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  ~Transport();

  // `done` runs in a later turn(), unless the exchange is dropped before.
  Id begin(Exchange exchange, const Identity& identity, std::function<void(Outcome)> done);
  void drop(Id id);
  // Waits for bytes, at most so long or until wake(), moves them, and runs what has ended by that.
  Result<void> turn(std::chrono::milliseconds longest);
  // From any thread.
  void wake();
  [[nodiscard]] std::size_t under_way() const { return calls_.size(); }

 private:
  struct Call;
  Transport(const CurlTable& curl, CURLM* multi);
  std::string prepare(Call& call, const Identity& identity);
  static std::size_t take_head(char* bytes, std::size_t size, std::size_t count, void* call);
  static std::size_t take(char* bytes, std::size_t size, std::size_t count, void* call);
  void end(Id id);
  void finish();

  const CurlTable& curl_;
  CURLM* multi_;
  Id next_ = 1;
  std::map<Id, std::unique_ptr<Call>> calls_;
  std::vector<std::pair<Id, Outcome>> ended_;
};

}  // namespace xlb
