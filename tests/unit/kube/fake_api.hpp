// SPDX-License-Identifier: Apache-2.0
// A small API server on loopback that can be made to fail in every way that servers and networks do. It lists in
// pages, watches from a version, counts what it is asked; a hook answers in its place.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace xlb {

struct FakeRequest {
  std::string method, path, body;  // path without its query
  std::map<std::string, std::string> query, headers;
  [[nodiscard]] bool watch() const { return query.contains("watch"); }
  [[nodiscard]] bool of(const std::string& resource) const { return path.ends_with("/" + resource); }
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct FakeReply {
  enum class End : std::uint8_t { orderly, cut, hang };
  unsigned status = 200;
  std::map<std::string, std::string> headers;
  std::string body;
  std::size_t send = std::string::npos;  // bytes of the body that are sent before the end
  End end = End::orderly;
  bool announced = false;                  // by Content-Length; else in chunks, as a watch comes
  std::chrono::milliseconds before{0};     // nothing happens for so long
  std::chrono::milliseconds each_byte{0};  // and for so long between bytes
  bool endless = false;                    // the body again and again, until the other side has had enough
};
FakeReply refusal(unsigned status, const std::string& reason, const std::string& message);

class FakeApi {
 public:
  using Json = nlohmann::json;
  using Hook = std::function<std::optional<FakeReply>(const FakeRequest&)>;

  FakeApi();
  ~FakeApi();
  FakeApi(const FakeApi&) = delete;
  FakeApi& operator=(const FakeApi&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  // `resource`: "services". Creates or changes; watches hear of it.
  void put(const std::string& resource, Json object);
  void remove(const std::string& resource, const std::string& ns, const std::string& name);
  void bookmark(const std::string& resource);
  // Each watch of it that is under way ends in good order.
  void end_watches(const std::string& resource);
  // Versions before now are too old to be watched from.
  void compact();
  // The server does not know the resource.
  void unknown(const std::string& resource, bool unknown);
  // As if restored from a copy: versions begin again below those that were given out.
  void restore(std::uint64_t version);
  // While it lives, the hook answers in the server's place. What the hook refers to has to be declared before it.
  class Hooked {
   public:
    Hooked(FakeApi& api, Hook hook) : api_(&api) { api.exchange_hook(std::move(hook)); }
    ~Hooked() { end(); }
    Hooked(const Hooked&) = delete;
    Hooked& operator=(const Hooked&) = delete;
    void end() { api_->exchange_hook(nullptr); }

   private:
    FakeApi* api_;
  };
  [[nodiscard]] Hooked hook(Hook hook) { return {*this, std::move(hook)}; }

  // What a watch would say of the object now.
  [[nodiscard]] std::string line(const std::string& type, const std::string& resource, const std::string& ns,
                                 const std::string& name);
  [[nodiscard]] unsigned requests() const { return requests_; }
  [[nodiscard]] unsigned lists(const std::string& resource);
  [[nodiscard]] unsigned watches(const std::string& resource);
  [[nodiscard]] std::size_t connections();
  // Every connection is cut; new ones are taken.
  void cut_all();
  void stop_listening();
  void listen_again();

 private:
  // Comes back when nobody is inside the former one any more.
  void exchange_hook(Hook hook);
  struct Event {
    std::uint64_t version;
    std::string line;
  };
  struct Resource {
    std::map<std::string, Json> objects;  // by namespace/name
    std::vector<Event> log;
    bool unknown = false;
    unsigned lists = 0, watches = 0;
    unsigned ended = 0;  // how often end_watches() was called
  };
  struct Connection {
    int fd;
    std::thread thread;
    std::atomic<bool> over{false};
  };
  void open_listener(std::uint16_t port);
  void accept_connections();
  void serve(int fd);
  bool answer(int fd, const FakeRequest& request);
  bool send_reply(int fd, const FakeReply& reply);
  FakeReply list(const FakeRequest& request, Resource& resource);
  bool stream(int fd, const FakeRequest& request, Resource& resource);
  void log(Resource& resource, const std::string& type, const Json& object);
  bool wait_for_peer(int fd);

  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::thread acceptor_;
  std::atomic<bool> stop_{false}, listening_{false};
  std::atomic<unsigned> requests_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t version_ = 100, oldest_ = 0;
  std::map<std::string, Resource> resources_;
  Hook hook_;
  unsigned in_hook_ = 0;  // requests that it is answering now
  std::list<Connection> connections_;
};

}  // namespace xlb
