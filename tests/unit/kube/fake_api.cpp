// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/kube/fake_api.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace xlb {

namespace {

using namespace std::chrono_literals;

std::string decoded(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::strtol(text.substr(i + 1, 2).c_str(), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool send_all(int fd, const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t length = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (length <= 0) return false;
    sent += static_cast<std::size_t>(length);
  }
  return true;
}

std::string chunk(const std::string& bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

std::string head_of(unsigned status, const std::map<std::string, std::string>& headers, bool chunked,
                    std::size_t length) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " Whatever\r\nContent-Type: application/json\r\n";
  for (const auto& [name, value] : headers) head += name + ": " + value + "\r\n";
  head += chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: " + std::to_string(length) + "\r\n";
  return head + "\r\n";
}

// Reads one request; false: the other side is gone.
bool receive(int fd, std::string& held, FakeRequest& request) {
  std::size_t end = std::string::npos;
  while ((end = held.find("\r\n\r\n")) == std::string::npos) {
    char bytes[4096];
    const ssize_t length = recv(fd, bytes, sizeof bytes, 0);
    if (length <= 0) return false;
    held.append(bytes, static_cast<std::size_t>(length));
  }
  const std::string head = held.substr(0, end);
  held.erase(0, end + 4);
  const std::size_t space = head.find(' ');
  request.method = head.substr(0, space);
  std::string target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
  if (const std::size_t mark = target.find('?'); mark != std::string::npos) {
    std::string query = target.substr(mark + 1);
    target.resize(mark);
    for (std::size_t begin = 0; begin < query.size();) {
      const std::size_t stop = std::min(query.find('&', begin), query.size());
      const std::string pair = query.substr(begin, stop - begin);
      const std::size_t equal = std::min(pair.find('='), pair.size());
      if (!pair.empty()) {
        request.query[decoded(pair.substr(0, equal))] = equal < pair.size() ? decoded(pair.substr(equal + 1)) : "";
      }
      begin = stop + 1;
    }
  }
  request.path = decoded(target);
  for (std::size_t begin = head.find("\r\n"); begin != std::string::npos;) {
    begin += 2;
    const std::size_t stop = std::min(head.find("\r\n", begin), head.size());
    const std::string line = head.substr(begin, stop - begin);
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) request.headers[lower(line.substr(0, colon))] = line.substr(colon + 2);
    begin = stop < head.size() ? stop : std::string::npos;
  }
  const std::string length_text = request.header("content-length");
  const std::size_t length = length_text.empty() ? 0 : std::strtoul(length_text.c_str(), nullptr, 10);
  while (held.size() < length) {
    char bytes[4096];
    const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    held.append(bytes, static_cast<std::size_t>(got));
  }
  request.body = held.substr(0, length);
  held.erase(0, length);
  return true;
}

std::string key_of(const FakeApi::Json& object) {
  const auto& metadata = object.at("metadata");
  return metadata.value("namespace", "") + "/" + metadata.at("name").get<std::string>();
}

}  // namespace

std::string FakeRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

FakeReply refusal(unsigned status, const std::string& reason, const std::string& message) {
  FakeReply reply;
  reply.status = status;
  reply.announced = true;
  reply.body = FakeApi::Json{{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Failure"},
                             {"reason", reason}, {"message", message}, {"code", status}}
                   .dump();
  return reply;
}

FakeApi::FakeApi() {
  open_listener(0);
}

FakeApi::~FakeApi() {
  stop_ = true;
  stop_listening();
  cut_all();
  changed_.notify_all();
  for (Connection& connection : connections_) connection.thread.join();
  for (Connection& connection : connections_) close(connection.fd);
}

void FakeApi::open_listener(std::uint16_t port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 64) != 0)
    std::abort();
  socklen_t length = sizeof address;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  port_ = ntohs(address.sin_port);
  listening_ = true;
  acceptor_ = std::thread([this] { accept_connections(); });
}

void FakeApi::stop_listening() {
  listening_ = false;
  if (acceptor_.joinable()) acceptor_.join();
  if (listener_ >= 0) close(listener_);
  listener_ = -1;
}

void FakeApi::listen_again() {
  open_listener(port_);
}

void FakeApi::accept_connections() {
  while (listening_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (poll(&waiting, 1, 20) <= 0) continue;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const std::scoped_lock lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      if (!it->over) {
        ++it;
        continue;
      }
      it->thread.join();
      close(it->fd);
      it = connections_.erase(it);
    }
    Connection& connection = connections_.emplace_back();
    connection.fd = fd;
    connection.thread = std::thread([this, &connection] {
      serve(connection.fd);
      shutdown(connection.fd, SHUT_RDWR);
      connection.over = true;
    });
  }
}

void FakeApi::serve(int fd) {
  std::string held;
  while (!stop_) {
    FakeRequest request;
    if (!receive(fd, held, request)) return;
    ++requests_;
    if (!answer(fd, request)) return;
  }
}

bool FakeApi::answer(int fd, const FakeRequest& request) {
  Hook hook;
  {
    const std::scoped_lock lock(mutex_);
    hook = hook_;
    if (hook) ++in_hook_;
    Resource& resource = resources_[request.path.substr(request.path.rfind('/') + 1)];
    ++(request.watch() ? resource.watches : resource.lists);
  }
  if (hook) {
    const auto reply = hook(request);
    {
      const std::scoped_lock lock(mutex_);
      --in_hook_;
    }
    changed_.notify_all();
    if (reply) return send_reply(fd, *reply);
  }
  if (request.method != "GET") return send_reply(fd, refusal(405, "MethodNotAllowed", "the fake only reads"));
  std::unique_lock lock(mutex_);
  Resource& resource = resources_[request.path.substr(request.path.rfind('/') + 1)];
  if (resource.unknown) {
    lock.unlock();
    return send_reply(fd, refusal(404, "NotFound", "the server could not find the requested resource"));
  }
  if (request.watch()) {
    lock.unlock();
    return stream(fd, request, resource);
  }
  const FakeReply reply = list(request, resource);
  lock.unlock();
  return send_reply(fd, reply);
}

// The token of a page: the version of its list, and the key that the page begins behind.
FakeReply FakeApi::list(const FakeRequest& request, Resource& resource) {
  const auto limit = request.query.find("limit");
  const std::size_t most =
      limit == request.query.end() ? 1'000'000 : std::strtoul(limit->second.c_str(), nullptr, 10);
  std::uint64_t version = version_;
  std::string after;
  if (const auto token = request.query.find("continue"); token != request.query.end()) {
    const std::size_t colon = token->second.find(':');
    version = std::strtoull(token->second.c_str(), nullptr, 10);
    after = token->second.substr(colon + 1);
    if (version < oldest_) return refusal(410, "Expired", "the provided continue parameter is too old");
  }
  const std::string prefix =
      request.path.find("/namespaces/") == std::string::npos
          ? ""
          : request.path.substr(request.path.find("/namespaces/") + 12,
                                request.path.rfind('/') - request.path.find("/namespaces/") - 11);
  Json items = Json::array();
  std::string last, more;
  for (const auto& [key, object] : resource.objects) {
    if (key <= after && !after.empty()) continue;
    if (!prefix.empty() && !key.starts_with(prefix)) continue;
    if (items.size() == most) {
      more = std::to_string(version) + ":" + last;
      break;
    }
    items.push_back(object);
    last = key;
  }
  FakeReply reply;
  reply.announced = true;
  Json metadata{{"resourceVersion", std::to_string(version)}};
  if (!more.empty()) metadata["continue"] = more;
  reply.body = Json{{"kind", "List"}, {"apiVersion", "v1"}, {"metadata", metadata}, {"items", items}}.dump();
  return reply;
}

bool FakeApi::stream(int fd, const FakeRequest& request, Resource& resource) {
  std::uint64_t position = std::strtoull(request.query.at("resourceVersion").c_str(), nullptr, 10);
  {
    const std::scoped_lock lock(mutex_);
    if (position < oldest_) {
      FakeReply gone;
      gone.body =
          Json{{"type", "ERROR"},
               {"object",
                {{"kind", "Status"}, {"code", 410}, {"reason", "Expired"}, {"message", "too old resource version"}}}}
              .dump() +
          "\n";
      return send_reply(fd, gone);
    }
  }
  if (!send_all(fd, head_of(200, {}, true, 0))) return false;
  std::unique_lock lock(mutex_);
  const unsigned ended = resource.ended;
  while (!stop_) {
    if (resource.ended != ended) {
      lock.unlock();
      return send_all(fd, "0\r\n\r\n");
    }
    std::string lines;
    for (const Event& event : resource.log) {
      if (event.version <= position) continue;
      lines += event.line;
      position = event.version;
    }
    if (!lines.empty()) {
      lock.unlock();
      if (!send_all(fd, chunk(lines))) return false;
      lock.lock();
      continue;
    }
    changed_.wait_for(lock, 20ms);
    pollfd peer{fd, POLLIN, 0};
    if (poll(&peer, 1, 0) > 0) return false;  // no request comes into a watch: it has hung up
  }
  return false;
}

bool FakeApi::wait_for_peer(int fd) {
  while (!stop_) {
    pollfd peer{fd, POLLIN, 0};
    if (poll(&peer, 1, 20) > 0) return false;
  }
  return false;
}

bool FakeApi::send_reply(int fd, const FakeReply& reply) {
  for (auto left = reply.before; left > 0ms && !stop_; left -= 5ms)
    std::this_thread::sleep_for(std::min<std::chrono::milliseconds>(left, 5ms));
  if (!send_all(fd, head_of(reply.status, reply.headers, !reply.announced, reply.body.size()))) return false;
  const std::string bytes = reply.body.substr(0, reply.send);
  do {
    if (reply.each_byte > 0ms) {
      for (const char c : bytes) {
        if (!send_all(fd, reply.announced ? std::string(1, c) : chunk(std::string(1, c))) || stop_) return false;
        std::this_thread::sleep_for(reply.each_byte);
      }
    } else if (!bytes.empty() && !send_all(fd, reply.announced ? bytes : chunk(bytes))) {
      return false;
    }
  } while (reply.endless && !stop_);
  switch (reply.end) {
    case FakeReply::End::orderly:
      return reply.announced || send_all(fd, "0\r\n\r\n");
    case FakeReply::End::cut:
      return false;
    case FakeReply::End::hang:
      return wait_for_peer(fd);
  }
  return false;
}

void FakeApi::log(Resource& resource, const std::string& type, const Json& object) {
  resource.log.push_back({version_, Json{{"type", type}, {"object", object}}.dump() + "\n"});
}

void FakeApi::put(const std::string& resource, Json object) {
  const std::scoped_lock lock(mutex_);
  Resource& to = resources_[resource];
  ++version_;
  object["metadata"]["resourceVersion"] = std::to_string(version_);
  if (!object["metadata"].contains("uid")) object["metadata"]["uid"] = "uid-of-" + key_of(object);
  const std::string key = key_of(object);
  log(to, to.objects.contains(key) ? "MODIFIED" : "ADDED", object);
  to.objects.insert_or_assign(key, std::move(object));
  changed_.notify_all();
}

void FakeApi::remove(const std::string& resource, const std::string& ns, const std::string& name) {
  const std::scoped_lock lock(mutex_);
  Resource& from = resources_[resource];
  const auto found = from.objects.find(ns + "/" + name);
  if (found == from.objects.end()) return;
  ++version_;
  found->second["metadata"]["resourceVersion"] = std::to_string(version_);
  log(from, "DELETED", found->second);
  from.objects.erase(found);
  changed_.notify_all();
}

void FakeApi::bookmark(const std::string& resource) {
  const std::scoped_lock lock(mutex_);
  ++version_;
  log(resources_[resource], "BOOKMARK", Json{{"metadata", {{"resourceVersion", std::to_string(version_)}}}});
  changed_.notify_all();
}

void FakeApi::end_watches(const std::string& resource) {
  const std::scoped_lock lock(mutex_);
  ++resources_[resource].ended;
  changed_.notify_all();
}

void FakeApi::compact() {
  const std::scoped_lock lock(mutex_);
  oldest_ = ++version_;
  for (auto& [name, resource] : resources_) resource.log.clear();
}

void FakeApi::unknown(const std::string& resource, bool unknown) {
  const std::scoped_lock lock(mutex_);
  resources_[resource].unknown = unknown;
}

void FakeApi::restore(std::uint64_t version) {
  const std::scoped_lock lock(mutex_);
  version_ = version;
  for (auto& [name, resource] : resources_) resource.log.clear();
}

void FakeApi::exchange_hook(Hook hook) {
  std::unique_lock lock(mutex_);
  hook_ = std::move(hook);
  changed_.wait(lock, [this] { return in_hook_ == 0; });
}

std::string FakeApi::line(const std::string& type, const std::string& resource, const std::string& ns,
                          const std::string& name) {
  const std::scoped_lock lock(mutex_);
  return Json{{"type", type}, {"object", resources_[resource].objects.at(ns + "/" + name)}}.dump() + "\n";
}

unsigned FakeApi::lists(const std::string& resource) {
  const std::scoped_lock lock(mutex_);
  return resources_[resource].lists;
}

unsigned FakeApi::watches(const std::string& resource) {
  const std::scoped_lock lock(mutex_);
  return resources_[resource].watches;
}

std::size_t FakeApi::connections() {
  const std::scoped_lock lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(), [](const Connection& c) { return !c.over; }));
}

void FakeApi::cut_all() {
  const std::scoped_lock lock(mutex_);
  for (Connection& connection : connections_) shutdown(connection.fd, SHUT_RDWR);
}

}  // namespace xlb
