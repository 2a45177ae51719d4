// SPDX-License-Identifier: Apache-2.0
// Any bytes as what an API server sends of one kind (which, says the first byte): as the lines of a watch, and as a
// page of a list.
#include <algorithm>
#include <vector>

#include "tests/fuzz/target.hpp"
#include "userspace/kube/lines.hpp"
#include "userspace/kube/store.hpp"

namespace {

using namespace xlb;

bool one_line(const std::string& text) {
  return !text.empty() && text.find('\n') == std::string::npos && text.find('\0') == std::string::npos;
}

std::vector<std::string> lines_of(std::string_view text, std::size_t piece) {
  Lines lines(4096);
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, std::min(piece, text.size()));
    text.remove_prefix(part.size());
    const auto fed = lines.feed(part, [&](std::string_view line) {
      out.emplace_back(line);
      return true;
    });
    if (fed != Lines::Fed::all) break;
  }
  fuzz::demand(lines.held() <= 4096, "what is held is bounded");
  return out;
}

ReadObject read(ApiKind kind, const TreeNode& tree, bool& named) {
  auto object = read_api_object(kind, tree);
  named = static_cast<bool>(object);
  if (!object) {
    fuzz::demand(one_line(object.error().text), "an error is one line", object.error().text);
    return {};
  }
  fuzz::demand(!object->name.name.empty(), "what counts has a name");
  fuzz::demand(object->unreadable.empty() || one_line(object->unreadable), "a sentence is one line",
               object->unreadable);
  for (const std::string& warning : object->warnings)
    fuzz::demand(one_line(warning), "a warning is one line", warning);
  const auto again = read_api_object(kind, tree);
  fuzz::demand(again && same(*object, *again), "it reads the same each time", object->name.text());
  return std::move(*object);
}

void watch(ApiKind kind, std::string_view text, Store& store) {
  const std::vector<std::string> lines = lines_of(text, text.size());
  fuzz::demand(lines == lines_of(text, 7), "pieces do not matter");
  for (const std::string& line : lines) {
    const auto event = parse_event(line, about(kind).leave_out);
    if (!event) {
      fuzz::demand(one_line(event.error().text), "an error is one line", event.error().text);
      continue;
    }
    if (event->type == WatchEvent::Type::error || event->type == WatchEvent::Type::bookmark) continue;
    bool named = false;
    ReadObject object = read(kind, event->object, named);
    if (!named) continue;
    if (event->type == WatchEvent::Type::deleted) {
      store.remove(kind, object.name);
    } else {
      store.put(kind, std::move(object));
    }
  }
}

void list(ApiKind kind, std::string_view text, Store& store) {
  const auto page = parse_list(text, about(kind).leave_out, [&](const TreeNode& tree) {
    bool named = false;
    ReadObject object = read(kind, tree, named);
    if (named) store.listed(kind, std::move(object));
  });
  if (page) {
    store.commit_listed(kind);
  } else {
    store.forget_listed(kind);
    fuzz::demand(one_line(page.error().text), "an error is one line", page.error().text);
  }
  (void)parse_status(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto kind = static_cast<ApiKind>(data[0] % kApiKinds);
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  Store store;
  watch(kind, text, store);
  list(kind, text, store);
  const ApiState state = store.state();
  fuzz::demand(state == store.state() && !store.changed(), "a state is a value");
  for (const Service& service : state.objects.services) {
    fuzz::demand(state.services->contains(service.name), "each service has its row", service.name.text());
  }
  return 0;
}
