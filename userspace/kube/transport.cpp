// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace xlb {

namespace {

constexpr long kConnect_ms = 5000;
// A peer that is gone without a word: found by the kernel, within about half a minute, whatever is being waited for.
constexpr long kKeepAliveIdle_s = 15;
constexpr long kKeepAliveInterval_s = 5;
constexpr unsigned kUnacknowledged_ms = 20'000;
constexpr std::size_t kMaxRefusalBytes = 64 * 1024;  // of the answer that says why there is no watch

curl_socket_t open_socket(void* /*ours*/, curlsocktype /*purpose*/, curl_sockaddr* address) {
  // Not inherited by whatever the daemon may start.
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd >= 0 && address->socktype == SOCK_STREAM) {
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledged_ms, sizeof kUnacknowledged_ms);
  }
  return fd;
}

// Other exchanges of one connection end so, too, when the server ends it by what it answers to one of them: an API
// server does with each 401.
bool was_cut(CURLcode code) {
  return code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM || code == CURLE_GOT_NOTHING ||
         code == CURLE_PARTIAL_FILE || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR;
}

curl_blob blob_of(const std::string& text) {
  return {const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY};
}

}  // namespace

struct Transport::Call {
  Transport* transport = nullptr;
  Id id = 0;
  Exchange exchange;
  std::function<void(Outcome)> done;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> words{};
  curl_slist* connect_to = nullptr;
  Lines lines{0};
  Outcome outcome;
};

Transport::Transport(const CurlTable& curl, CURLM* multi) : curl_(curl), multi_(multi) {}

Result<std::unique_ptr<Transport>> Transport::open(const CurlTable& curl) {
  CURLM* const multi = curl.multi_init();
  if (multi == nullptr) return Error{"libcurl gives no handle: out of memory or descriptors"};
  curl.multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  return std::unique_ptr<Transport>(new Transport(curl, multi));
}

Transport::~Transport() {
  while (!calls_.empty()) end(calls_.begin()->first);
  curl_.multi_cleanup(multi_);
}

std::string Transport::prepare(Call& call, const Identity& identity) {
  CURLcode failed = CURLE_OK;
  std::string what;
  const auto set = [&](const char* name, CURLoption option, auto value) {
    if (failed != CURLE_OK) return;
    failed = curl_.easy_setopt(call.easy, option, value);
    if (failed != CURLE_OK) what = name;
  };
  const auto header = [&](const std::string& line) {
    if (curl_slist* const longer = curl_.slist_append(call.headers, line.c_str())) call.headers = longer;
  };
  const Exchange& exchange = call.exchange;
  set("ERRORBUFFER", CURLOPT_ERRORBUFFER, call.words.data());
  set("URL", CURLOPT_URL, (identity.url + exchange.path).c_str());
  set("PROTOCOLS", CURLOPT_PROTOCOLS_STR, identity.url.starts_with("http://") ? "http" : "https");
  set("NOSIGNAL", CURLOPT_NOSIGNAL, 1L);
  set("QUICK_EXIT", CURLOPT_QUICK_EXIT, 1L);  // a name server that does not answer is not waited for at the end
  set("PROXY", CURLOPT_PROXY, identity.proxy.c_str());
  set("NOPROXY", CURLOPT_NOPROXY, "");
  set("HTTP_VERSION", CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set("PIPEWAIT", CURLOPT_PIPEWAIT,
      1L);  // rather a stream of a connection that is being made than another connection
  set("FRESH_CONNECT", CURLOPT_FRESH_CONNECT, exchange.fresh_connection ? 1L : 0L);
  set("CONNECTTIMEOUT_MS", CURLOPT_CONNECTTIMEOUT_MS, kConnect_ms);
  set("TIMEOUT_MS", CURLOPT_TIMEOUT_MS, static_cast<long>(exchange.timeout.count()));
  set("TCP_KEEPALIVE", CURLOPT_TCP_KEEPALIVE, 1L);
  set("TCP_KEEPIDLE", CURLOPT_TCP_KEEPIDLE, kKeepAliveIdle_s);
  set("TCP_KEEPINTVL", CURLOPT_TCP_KEEPINTVL, kKeepAliveInterval_s);
  set("OPENSOCKETFUNCTION", CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set("SSLVERSION", CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set("SSL_VERIFYPEER", CURLOPT_SSL_VERIFYPEER, identity.verify ? 1L : 0L);
  set("SSL_VERIFYHOST", CURLOPT_SSL_VERIFYHOST, identity.verify ? 2L : 0L);
  if (!identity.ca.empty()) {
    // The cluster's own authority, and none of those that the system trusts.
    set("CAPATH", CURLOPT_CAPATH, static_cast<char*>(nullptr));
    const curl_blob ca = blob_of(identity.ca);
    set("CAINFO_BLOB", CURLOPT_CAINFO_BLOB, &ca);
  }
  if (!identity.certificate.empty()) {
    const curl_blob certificate = blob_of(identity.certificate);
    const curl_blob key = blob_of(identity.key);
    set("SSLCERT_BLOB", CURLOPT_SSLCERT_BLOB, &certificate);
    set("SSLKEY_BLOB", CURLOPT_SSLKEY_BLOB, &key);
  }
  if (!identity.connect_to.empty()) {
    call.connect_to = curl_.slist_append(nullptr, identity.connect_to.c_str());
    set("CONNECT_TO", CURLOPT_CONNECT_TO, call.connect_to);
  }
  header("Accept: application/json");
  header("User-Agent: xdp-lb");
  if (!identity.token.empty()) header("Authorization: Bearer " + identity.token);
  if (exchange.method != "GET") {
    set("CUSTOMREQUEST", CURLOPT_CUSTOMREQUEST, exchange.method.c_str());
    set("POSTFIELDSIZE_LARGE", CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange.body.size()));
    set("POSTFIELDS", CURLOPT_POSTFIELDS, exchange.body.c_str());  // lives as long as the call
    header("Content-Type: " + exchange.content_type);
    header("Expect:");  // a body is sent at once, not after a word of consent
  }
  set("HTTPHEADER", CURLOPT_HTTPHEADER, call.headers);
  set("HEADERFUNCTION", CURLOPT_HEADERFUNCTION, &Transport::take_head);
  set("HEADERDATA", CURLOPT_HEADERDATA, &call);
  set("WRITEFUNCTION", CURLOPT_WRITEFUNCTION, &Transport::take);
  set("WRITEDATA", CURLOPT_WRITEDATA, &call);
  set("PRIVATE", CURLOPT_PRIVATE, &call);
  if (failed == CURLE_OK) return {};
  return std::string("libcurl on this machine cannot do what is needed (") + what + ": " +
         curl_.easy_strerror(failed) + "): it needs 7.87 or newer with OpenSSL";
}

Transport::Id Transport::begin(Exchange exchange, const Identity& identity, std::function<void(Outcome)> done) {
  const Id id = next_++;
  auto call = std::make_unique<Call>();
  call->transport = this;
  call->id = id;
  call->lines = Lines(exchange.longest_line);
  call->exchange = std::move(exchange);
  call->done = std::move(done);
  call->easy = curl_.easy_init();
  std::string problem = call->easy == nullptr ? "libcurl gives no handle: out of memory" : prepare(*call, identity);
  Call& held = *call;
  calls_.emplace(id, std::move(call));
  if (problem.empty()) {
    const CURLMcode code = curl_.multi_add_handle(multi_, held.easy);
    if (code != CURLM_OK) problem = std::string("libcurl: ") + curl_.multi_strerror(code);
  }
  if (!problem.empty()) {
    held.outcome.error = problem;
    ended_.emplace_back(id, held.outcome);
  }
  return id;
}

void Transport::drop(Id id) {
  if (calls_.contains(id)) end(id);
}

void Transport::end(Id id) {
  const auto found = calls_.find(id);
  Call& call = *found->second;
  if (call.easy != nullptr) {
    curl_.multi_remove_handle(multi_, call.easy);
    curl_.easy_cleanup(call.easy);
  }
  curl_.slist_free_all(call.headers);
  curl_.slist_free_all(call.connect_to);
  calls_.erase(found);
}

// libcurl has a line of the answer's head; the last one is empty.
std::size_t Transport::take_head(char* bytes, std::size_t size, std::size_t count, void* context) {
  Call& call = *static_cast<Call*>(context);
  const std::size_t length = size * count;
  if (std::string_view(bytes, length) != "\r\n") return length;
  long status = 0;
  call.transport->curl_.easy_getinfo(call.easy, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) return length;  // 100 Continue: the answer's own head follows
  call.outcome.status = static_cast<unsigned>(status);
  if (status == 200 && call.exchange.line) call.exchange.opened();
  return length;
}

// libcurl has bytes of a body. Anything but their number ends the exchange.
std::size_t Transport::take(char* bytes, std::size_t size, std::size_t count, void* context) {
  Call& call = *static_cast<Call*>(context);
  Exchange& exchange = call.exchange;
  const std::size_t length = size * count;
  const std::string_view text(bytes, length);
  if (exchange.line && call.outcome.status == 200) {
    switch (call.lines.feed(text, exchange.line)) {
      case Lines::Fed::all:
        return length;
      case Lines::Fed::stopped:
        call.outcome.stopped = true;
        return 0;
      case Lines::Fed::too_long:
        call.outcome.too_long = true;
        return 0;
    }
  }
  const std::size_t most = exchange.line ? kMaxRefusalBytes : exchange.most_bytes;
  if (call.outcome.body.size() + length > most) {
    call.outcome.too_long = true;
    return 0;
  }
  call.outcome.body += text;
  return length;
}

Result<void> Transport::turn(std::chrono::milliseconds longest) {
  // Waiting comes first: whoever calls has looked at the clock, and must be heard again as soon as bytes have been
  // read. What has been begun since is due at once, libcurl sees to that.
  const int wait_ms = ended_.empty() ? static_cast<int>(longest.count()) : 0;
  CURLMcode code = curl_.multi_poll(multi_, nullptr, 0, wait_ms, nullptr);
  int running = 0;
  if (code == CURLM_OK) code = curl_.multi_perform(multi_, &running);
  if (code == CURLM_OK) {
    int messages = 0;
    while (const CURLMsg* message = curl_.multi_info_read(multi_, &messages)) {
      if (message->msg != CURLMSG_DONE) continue;
      Call* call = nullptr;
      curl_.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
      Outcome& outcome = call->outcome;
      curl_off_t retry_after = 0;
      curl_.easy_getinfo(message->easy_handle, CURLINFO_RETRY_AFTER, &retry_after);
      outcome.retry_after = std::chrono::seconds(std::clamp<curl_off_t>(retry_after, 0, 86'400));
      if (message->data.result != CURLE_OK && !outcome.too_long && !outcome.stopped) {
        outcome.error = call->words[0] != '\0' ? call->words.data() : curl_.easy_strerror(message->data.result);
        outcome.cut = was_cut(message->data.result);
      }
      ended_.emplace_back(call->id, std::move(outcome));
    }
  }
  if (code != CURLM_OK) return Error{std::string("libcurl: ") + curl_.multi_strerror(code)};
  finish();
  return {};
}

void Transport::finish() {
  // `done` begins and drops other exchanges.
  while (!ended_.empty()) {
    auto [id, outcome] = std::move(ended_.back());
    ended_.pop_back();
    const auto found = calls_.find(id);
    if (found == calls_.end()) continue;
    const auto done = std::move(found->second->done);
    end(id);
    done(std::move(outcome));
  }
}

void Transport::wake() {
  curl_.multi_wakeup(multi_);
}

}  // namespace xlb
