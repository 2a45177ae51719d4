// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/client.hpp"

#include <malloc.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::size_t kMaxPageBytes = std::size_t{32} << 20;
constexpr std::size_t kMaxLineBytes = std::size_t{4} << 20;
constexpr auto kListTime = 30'000ms;
constexpr std::size_t kRequestsAtOnce = 16;
constexpr std::size_t kMaxRequests = 4096;  // that wait; a caller with more has lost count
constexpr auto kFilesHold = 10s;            // a token is renewed minutes before the old one ends
constexpr auto kLongestTurn = 10s;
// Whose troubles they are, besides the kinds.
constexpr std::size_t kCredentials = kApiKinds;
constexpr std::size_t kLibrary = kApiKinds + 1;

std::chrono::milliseconds rounded_up(std::chrono::nanoseconds time) {
  return std::chrono::ceil<std::chrono::milliseconds>(time);
}

struct Words {
  const char* method;
  const char* content_type;
};

Words words_of(ApiRequest::Verb verb) {
  switch (verb) {
    case ApiRequest::Verb::get:
      return {"GET", ""};
    case ApiRequest::Verb::create:
      return {"POST", "application/json"};
    case ApiRequest::Verb::replace:
      return {"PUT", "application/json"};
    case ApiRequest::Verb::merge_patch:
      return {"PATCH", "application/merge-patch+json"};
    case ApiRequest::Verb::strategic_patch:
      return {"PATCH", "application/strategic-merge-patch+json"};
    case ApiRequest::Verb::apply_patch:
      return {"PATCH", "application/apply-patch+yaml"};
    case ApiRequest::Verb::remove:
      return {"DELETE", "application/json"};
  }
  return {"GET", ""};
}

// Identities are of the server's making; what is no plain text of it does not go back into JSON.
std::string json_word(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < 0x7f && c != '"' && c != '\\') out += c;
  }
  return "\"" + out + "\"";
}

std::string removal_body(const ApiRequest& request) {
  std::string preconditions;
  if (!request.only_uid.empty()) preconditions += "\"uid\":" + json_word(request.only_uid);
  if (!request.only_version.empty()) {
    preconditions +=
        std::string(preconditions.empty() ? "" : ",") + "\"resourceVersion\":" + json_word(request.only_version);
  }
  if (preconditions.empty()) return request.body;
  return R"({"kind":"DeleteOptions","apiVersion":"v1","preconditions":{)" + preconditions + "}}";
}

Exchange exchange_of(const ApiRequest& request) {
  const Words words = words_of(request.verb);
  Exchange exchange;
  exchange.method = words.method;
  exchange.content_type = words.content_type;
  exchange.path = request.path;
  const bool managed = request.verb != ApiRequest::Verb::get && request.verb != ApiRequest::Verb::remove;
  if (managed && !request.field_manager.empty()) {
    exchange.path +=
        (request.path.find('?') == std::string::npos ? "?fieldManager=" : "&fieldManager=") + request.field_manager;
    if (request.verb == ApiRequest::Verb::apply_patch) exchange.path += "&force=true";
  }
  exchange.body = request.verb == ApiRequest::Verb::remove ? removal_body(request) : request.body;
  exchange.timeout = std::max(request.timeout, 1ms);
  exchange.most_bytes = ApiAnswer::kBodyBytes;
  return exchange;
}

// A path is put behind the server's URL as it stands.
bool good_path(const std::string& path) {
  return path.starts_with('/') &&
         std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

std::string what_was_asked(const ApiRequest& request) {
  return std::string(words_of(request.verb).method) + " " + request.path;
}

}  // namespace

// ---- the loop's thread
// ----------------------------------------------------------------------------------------------

Result<std::unique_ptr<ApiServer::Client>> ApiServer::Client::start(ApiCredentials credentials,
                                                                    ApiSettings settings) {
  auto identity = load_identity(credentials);
  if (!identity) return identity.error();
  const auto curl = load_curl();
  if (!curl) return curl.error();
  auto transport = Transport::open(**curl);
  if (!transport) return transport.error();
  std::unique_ptr<Client> client(
      new Client(std::move(credentials), std::move(*identity), std::move(settings)));
  client->transport_ = std::move(*transport);
  client->ready_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (client->ready_ < 0) return Error{std::string("eventfd: ") + std::strerror(errno)};
  // Signals are the loop's; and a peer that hangs up must not end the program by SIGPIPE.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, std::max(kStackBytes, static_cast<std::size_t>(PTHREAD_STACK_MIN)));
  const int failed = pthread_create(&client->thread_, &attributes, &Client::enter, client.get());
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failed != 0) return Error{std::string("no thread for the API server: ") + std::strerror(failed)};
  client->running_ = true;
  return client;
}

ApiServer::Client::Client(ApiCredentials credentials, Identity identity, ApiSettings settings)
    : credentials_(std::move(credentials)),
      identity_(std::move(identity)),
      settings_(std::move(settings)),
      random_(std::random_device()()) {
  contact_.trouble = "the first lists have not come yet";
  contact_.since = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < kApiKinds; ++i) {
    const auto kind = static_cast<ApiKind>(i);
    const ApiKindInfo& info = about(kind);
    followed_.push_back({kind, Watch({info.resource, info.group, info.custom}, settings_.pace), 0, std::nullopt});
  }
}

ApiServer::Client::~Client() {
  if (running_) {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
      transport_->wake();
    }
    pthread_join(thread_, nullptr);
  }
  if (ready_ >= 0) close(ready_);
}

bool ApiServer::Client::drain() {
  std::uint64_t rung = 0;
  [[maybe_unused]] const ssize_t length = read(ready_, &rung, sizeof rung);  // EAGAIN: nothing was signalled
  std::vector<std::pair<RequestId, ApiAnswer>> answers;
  std::shared_ptr<const ApiState> state;
  {
    const std::scoped_lock lock(mutex_);
    answers.swap(answers_);
    state = state_;
  }
  const bool news = state != drained_;
  drained_ = std::move(state);
  for (const auto& [id, answer] : answers) {
    const auto found = callbacks_.find(id);
    const auto callback = std::move(found->second);
    callbacks_.erase(found);
    callback(answer);
  }
  return news;
}

std::shared_ptr<const ApiState> ApiServer::Client::state() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

void ApiServer::Client::request(ApiRequest request, std::function<void(const ApiAnswer&)> answered) {
  const RequestId id = next_request_++;
  std::string refused;
  {
    const std::scoped_lock lock(mutex_);
    if (!good_path(request.path)) {
      refused = "no path of an API server: " + in_quotes(std::string_view(request.path));
    } else if (asked_.size() >= kMaxRequests) {
      refused = what_was_asked(request) + ": " + std::to_string(kMaxRequests) + " requests are waiting already";
    }
    if (refused.empty()) {
      asked_.push_back({id, std::move(request), false});
    } else {
      ApiAnswer answer;
      answer.error = refused;
      answers_.emplace_back(id, std::move(answer));
    }
  }
  callbacks_.emplace(id, std::move(answered));
  if (refused.empty()) {
    transport_->wake();
  } else {
    signal();
  }
}

std::vector<std::string> ApiServer::Client::take_troubles() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(troubles_, {});
}

ApiContact ApiServer::Client::contact() const {
  const std::scoped_lock lock(mutex_);
  return contact_;
}

ApiCounters ApiServer::Client::counters() const {
  const std::scoped_lock lock(mutex_);
  return counters_;
}

// ---- the client's thread
// --------------------------------------------------------------------------------------------

void* ApiServer::Client::enter(void* client) {
  pthread_setname_np(pthread_self(), "xlb-kube");
  static_cast<Client*>(client)->run();
  return nullptr;
}

ApiServer::Client::Time ApiServer::Client::now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

double ApiServer::Client::chance() {
  return std::uniform_real_distribution<double>(0, 1)(random_);
}

void ApiServer::Client::run() {
  while (!stop_) {
    take_requests();
    Time wake = now() + kLongestTurn;
    for (Followed& followed : followed_) {
      step(followed);
      wake = std::min(wake, followed.watch.wake());
    }
    publish();
    if (changed_at_)
      wake = std::min(wake, std::max(*changed_at_ + settings_.gather, published_at_ + settings_.distance));
    const Time left = std::clamp<Time>(wake - now(), 0ns, kLongestTurn);
    if (auto turned = transport_->turn(rounded_up(left)); !turned) {
      // Out of memory or of descriptors: others may give some back.
      said_.report(kLibrary, turned.error().text);
      const timespec pause{0, 200'000'000};
      nanosleep(&pause, nullptr);
    }
  }
  // Here, where SIGPIPE is blocked: connections are closed with a word to the other side. Not before the destructor
  // has made its last use of it.
  { const std::scoped_lock lock(mutex_); }
  transport_.reset();
}

void ApiServer::Client::step(Followed& followed) {
  react(followed, followed.watch.tick(now(), chance()));
  if (const auto question = followed.watch.ask(now(), chance())) begin(followed, *question);
}

void ApiServer::Client::begin(Followed& followed, const Watch::Question& question) {
  refresh_identity();
  Exchange exchange;
  exchange.path = collection(followed.kind, settings_.ns, settings_.node) + question.query;
  exchange.fresh_connection = question.fresh_connection;
  followed.failure.reset();
  // libcurl must not be called from inside its own call of `line`: what a line means for the call is said at its end.
  if (question.watch) {
    ++counts_.watches;
    exchange.longest_line = kMaxLineBytes;
    exchange.opened = [&followed] { followed.watch.opened(now()); };
    exchange.line = [this, &followed](std::string_view line) { return heard(followed, line); };
    followed.call = transport_->begin(std::move(exchange), identity_,
                                      [this, &followed](const Outcome& outcome) { watch_ended(followed, outcome); });
    return;
  }
  ++counts_.lists;
  exchange.timeout = kListTime;
  exchange.most_bytes = kMaxPageBytes;
  followed.call = transport_->begin(std::move(exchange), identity_,
                                    [this, &followed](const Outcome& outcome) { list_ended(followed, outcome); });
}

void ApiServer::Client::count(const ReadObject& object) {
  ++counts_.updates;
  if (!object.unreadable.empty()) ++counts_.update_errors;
}

bool ApiServer::Client::heard(Followed& followed, std::string_view line) {
  using Kind = Watch::Failure::Kind;
  auto event = parse_event(line, about(followed.kind).leave_out);
  if (!event) {
    followed.failure = Watch::Failure{Kind::nonsense, 0, event.error().text, {}};
    return false;
  }
  if (event->type == WatchEvent::Type::error) {
    followed.failure = Watch::Failure{Kind::event, event->code, event->message, {}};
    return false;
  }
  if (event->type != WatchEvent::Type::bookmark) {
    auto object = read_api_object(followed.kind, event->object);
    if (!object) {
      followed.failure = Watch::Failure{Kind::nonsense, 0, object.error().text, {}};
      return false;
    }
    count(*object);
    if (event->type == WatchEvent::Type::deleted) {
      store_.remove(followed.kind, object->name);
    } else {
      store_.put(followed.kind, std::move(*object));
    }
  }
  followed.watch.line(event->version, now());
  return true;
}

void ApiServer::Client::watch_ended(Followed& followed, const Outcome& outcome) {
  using Kind = Watch::Failure::Kind;
  followed.call = 0;
  if (followed.failure) {
    fail(followed, *std::exchange(followed.failure, std::nullopt));
  } else if (outcome.too_long) {
    fail(followed, {Kind::too_long, outcome.status, "a line of more than 4 MiB", {}});
  } else if (!outcome.error.empty() || outcome.status == 0) {
    fail(followed, {outcome.cut ? Kind::cut : Kind::unreachable, 0, outcome.error, {}});
  } else if (outcome.status != 200) {
    fail(followed, {Kind::status, outcome.status, parse_status(outcome.body).message, outcome.retry_after});
  } else {
    react(followed, followed.watch.ended(now(), chance()));
  }
}

void ApiServer::Client::list_ended(Followed& followed, const Outcome& outcome) {
  using Kind = Watch::Failure::Kind;
  followed.call = 0;
  if (outcome.too_long) {
    fail(followed, {Kind::too_long, outcome.status, "a page of more than 32 MiB", {}});
  } else if (!outcome.error.empty() || outcome.status == 0) {
    fail(followed, {outcome.cut ? Kind::cut : Kind::unreachable, 0, outcome.error, {}});
  } else if (outcome.status != 200) {
    fail(followed, {Kind::status, outcome.status, parse_status(outcome.body).message, outcome.retry_after});
  } else {
    std::string nameless;
    const auto page = parse_list(outcome.body, about(followed.kind).leave_out, [&](const TreeNode& tree) {
      auto object = read_api_object(followed.kind, tree);
      if (!object) {
        nameless = object.error().text;
        return;
      }
      count(*object);
      store_.listed(followed.kind, std::move(*object));
    });
    if (!page || !nameless.empty()) {
      store_.forget_listed(followed.kind);
      fail(followed, {Kind::nonsense, 0, page ? nameless : page.error().text, {}});
      return;
    }
    react(followed, followed.watch.page(page->version, page->more, now(), chance()));
  }
}

void ApiServer::Client::fail(Followed& followed, const Watch::Failure& failure) {
  ++counts_.failures;
  react(followed, followed.watch.failed(failure, now(), chance()));
  // A client certificate that has expired shows as a connection that fails.
  if (failure.kind == Watch::Failure::Kind::unreachable || failure.kind == Watch::Failure::Kind::cut) {
    renew_identity(30s);
  }
}

void ApiServer::Client::react(Followed& followed, const Watch::Reaction& reaction) {
  switch (reaction.objects) {
    case Watch::Objects::keep:
      break;
    case Watch::Objects::forget:
      store_.forget_listed(followed.kind);
      break;
    case Watch::Objects::commit:
      store_.commit_listed(followed.kind);
      break;
    case Watch::Objects::absent:
      store_.absent(followed.kind);
      break;
  }
  if (reaction.give_up) {
    ++counts_.failures;
    transport_->drop(std::exchange(followed.call, 0));
  }
  const auto who = static_cast<std::size_t>(followed.kind);
  if (reaction.over) said_.over(who);
  if (!reaction.trouble.empty()) {
    said_.report(who, reaction.trouble);
    last_trouble_ = reaction.trouble;
  }
  if (reaction.renew_credentials) renew_identity(1s);
}

// Files are exchanged under a running process; the old ones are good for a while yet.
void ApiServer::Client::refresh_identity() {
  const bool files = !credentials_.token.file.empty() || !credentials_.ca.file.empty() ||
                     !credentials_.certificate.file.empty() || !credentials_.key.file.empty();
  if (!files || now() - identity_read_ < kFilesHold) return;
  identity_read_ = now();
  auto identity = load_identity(credentials_);
  if (!identity) {
    said_.report(kCredentials, identity.error().text);
    return;
  }
  identity_ = std::move(*identity);
  said_.over(kCredentials);
}

void ApiServer::Client::renew_identity(Time least_distance) {
  if (renewed_ != 0ns && now() - renewed_ < least_distance) return;
  renewed_ = now();
  if (settings_.again) {
    auto credentials = settings_.again();
    if (!credentials) {
      said_.report(kCredentials, credentials.error().text);
      return;
    }
    credentials_ = std::move(*credentials);
  }
  auto identity = load_identity(credentials_);
  identity_read_ = now();
  if (!identity) {
    said_.report(kCredentials, identity.error().text);
    return;
  }
  identity_ = std::move(*identity);
  said_.over(kCredentials);
}

void ApiServer::Client::take_requests() {
  while (requests_under_way_ < kRequestsAtOnce) {
    std::optional<Asked> asked;
    {
      const std::scoped_lock lock(mutex_);
      if (asked_.empty()) return;
      asked = std::move(asked_.front());
      asked_.pop_front();
    }
    ++counts_.requests;
    ++requests_under_way_;
    send(std::move(*asked));
  }
}

void ApiServer::Client::send(Asked asked) {
  refresh_identity();
  Exchange exchange = exchange_of(asked.request);
  transport_->begin(std::move(exchange), identity_,
                    [this, asked = std::move(asked)](const Outcome& outcome) { answered(asked, outcome); });
}

void ApiServer::Client::answered(const Asked& asked, const Outcome& outcome) {
  if (outcome.status == 401 && !asked.again) {
    renew_identity(1s);
    send({asked.id, asked.request, true});
    return;
  }
  --requests_under_way_;
  ApiAnswer answer;
  const std::string what = what_was_asked(asked.request) + ": ";
  if (outcome.too_long) {
    answer.error = what + "the answer is longer than 4 MiB";
  } else if (!outcome.error.empty() || outcome.status == 0) {
    answer.error = what + (outcome.error.empty() ? "no answer" : outcome.error);
  } else {
    answer.status = outcome.status;
    if (!answer.good()) {
      ApiStatus status = parse_status(outcome.body);
      answer.error = what + std::to_string(outcome.status) + (status.reason.empty() ? "" : " " + status.reason) +
                     (status.message.empty() ? "" : ": " + status.message);
      answer.reason = std::move(status.reason);
    }
    answer.body = outcome.body;
  }
  if (!answer.good()) ++counts_.failures;
  {
    const std::scoped_lock lock(mutex_);
    answers_.emplace_back(asked.id, std::move(answer));
  }
  signal();
}

void ApiServer::Client::publish() {
  std::shared_ptr<const ApiState> state;
  if (store_.whole() && store_.changed() && !changed_at_) changed_at_ = now();
  const bool due =
      changed_at_ && now() >= std::max(*changed_at_ + settings_.gather, published_at_ + settings_.distance);
  if (due) {
    state = std::make_shared<const ApiState>(store_.state());
    published_at_ = now();
    changed_at_.reset();
    ++counts_.states;
    // What the lists were parsed in goes back to the system: it is several times what is kept of them.
    if (!std::exchange(first_published_, true)) malloc_trim(0);
  }
  const bool troubled = std::any_of(followed_.begin(), followed_.end(),
                                    [](const Followed& followed) { return followed.watch.troubled(); });
  const bool reached = first_published_ && !troubled;
  std::vector<std::string> sentences = said_.take();
  bool news = state != nullptr || !sentences.empty();
  {
    const std::scoped_lock lock(mutex_);
    if (state) state_ = state;
    troubles_.insert(troubles_.end(), std::make_move_iterator(sentences.begin()),
                     std::make_move_iterator(sentences.end()));
    if (reached != contact_.reached) {
      contact_.reached = reached;
      contact_.since = std::chrono::steady_clock::now();
      news = true;
    }
    if (reached) {
      contact_.trouble.clear();
    } else if (!last_trouble_.empty()) {
      contact_.trouble = last_trouble_;
    }
    counters_ = counts_;
  }
  if (news) signal();
}

void ApiServer::Client::signal() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t length = write(ready_, &one, sizeof one);  // full: it is readable, which is all
}

}  // namespace xlb
