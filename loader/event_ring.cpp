// SPDX-License-Identifier: Apache-2.0
#include "loader/event_ring.hpp"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "loader/bpf_map.hpp"
#include "loader/kernel_tables.hpp"

namespace xlb {
namespace {

// A call ends after so many, however fast the programs write: the loop has other things to do, and the ring stays
// readable.
constexpr int at_once = 4096;

// What one call of read() hands to libbpf and gets back.
struct Reading {
  const std::function<void(const lb_event&)>& take;
  int taken = 0;
  std::size_t wrong_size = 0;  // of an event that is none of this contract; 0: there was none
};

// A negative answer ends the reading; the event it was given for is consumed.
int take_event(void* context, void* data, std::size_t size) {
  auto& reading = *static_cast<Reading*>(context);
  if (size != sizeof(lb_event)) {
    reading.wrong_size = size;
    return -EBADMSG;
  }
  lb_event event;
  std::memcpy(&event, data, sizeof(event));
  reading.take(event);
  return ++reading.taken < at_once ? 0 : -ECANCELED;
}

struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class PinnedEventRing : public EventRing {
 public:
  explicit PinnedEventRing(PinnedMap map) : map_(std::move(map)) {}

  Result<void> start() {
    ring_.reset(ring_buffer__new(map_.fd(), &PinnedEventRing::pass_on, this, nullptr));
    if (!ring_) return system_error("map table " + map_.name() + " into memory");
    return {};
  }

  [[nodiscard]] int fd() const override { return ring_buffer__epoll_fd(ring_.get()); }

  Result<int> read(const std::function<void(const lb_event&)>& take) override {
    Reading reading{take};
    reading_ = &reading;
    const int result = ring_buffer__consume(ring_.get());
    reading_ = nullptr;
    if (reading.wrong_size != 0) {
      return Error{map_.name() + ": an event of " + std::to_string(reading.wrong_size) +
                   " bytes, this build expects " + std::to_string(sizeof(lb_event))};
    }
    if (result < 0 && result != -ECANCELED) return system_error("read table " + map_.name(), -result);
    return reading.taken;
  }

 private:
  static int pass_on(void* self, void* data, std::size_t size) {
    return take_event(static_cast<PinnedEventRing*>(self)->reading_, data, size);
  }

  PinnedMap map_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  Reading* reading_ = nullptr;  // while read() runs
};

}  // namespace

Result<std::unique_ptr<EventRing>> EventRing::open(const std::string& pin_dir) {
  const auto folder = tables_folder(pin_dir);
  if (!folder) return folder.error();
  auto map = PinnedMap::open(*folder, "xlb_events", 0, 0);
  if (!map) return map.error();
  auto ring = std::make_unique<PinnedEventRing>(std::move(*map));
  if (auto started = ring->start(); !started) return started.error();
  return std::unique_ptr<EventRing>(std::move(ring));
}

}  // namespace xlb
