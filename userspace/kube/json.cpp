// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/json.hpp"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

// Builds trees from the parser's events. The parser keeps no stack of ours and none of the processor's: depth is
// bounded here.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  // `depth`: containers that stand around the object, so that `leave_out` can be told from the object's root.
  Builder(std::size_t depth, const LeaveOut& leave_out, const std::function<void(TreeNode)>* item)
      : depth_(depth), leave_out_(leave_out), item_(item) {}

  bool null() override { return add({}); }
  bool boolean(bool value) override { return add(scalar(value ? "true" : "false", false)); }
  bool number_integer(number_integer_t value) override { return add(scalar(std::to_string(value), false)); }
  bool number_unsigned(number_unsigned_t value) override { return add(scalar(std::to_string(value), false)); }
  bool number_float(number_float_t /*value*/, const string_t& text) override { return add(scalar(text, false)); }
  bool string(string_t& value) override { return add(scalar(std::move(value), true)); }
  bool binary(binary_t& /*value*/) override { return false; }  // JSON has none
  bool start_object(std::size_t /*elements*/) override { return open(TreeNode::Kind::mapping); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*elements*/) override { return open(TreeNode::Kind::sequence); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (skipping_ > 0) return true;
    open_.back().keys.push_back(std::move(name));
    skip_next_ = left_out();
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*exception*/) override {
    if (problem_.empty()) problem_ = "not valid JSON at byte " + std::to_string(position);
    return false;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }
  TreeNode take() { return std::move(root_); }

 private:
  static TreeNode scalar(std::string text, bool quoted) {
    TreeNode node;
    node.kind = TreeNode::Kind::scalar;
    node.quoted = quoted;
    node.scalar = std::move(text);
    return node;
  }

  [[nodiscard]] bool under(std::size_t level, std::string_view key) const {
    return !open_[level].keys.empty() && open_[level].keys.back() == key;
  }

  // The key just read, as a path from the object's root.
  [[nodiscard]] bool left_out() const {
    if (open_.size() <= depth_ || open_.size() > depth_ + 2) return false;
    const std::string& name = open_.back().keys.back();
    for (const std::string_view path : leave_out_) {
      const std::size_t dot = path.find('.');
      if (open_.size() == depth_ + 1) {
        if (dot == std::string_view::npos && path == name) return true;
      } else if (dot != std::string_view::npos && path.substr(dot + 1) == name &&
                 under(depth_, path.substr(0, dot))) {
        return true;
      }
    }
    return false;
  }

  // True: the value that begins or stands here is left out.
  bool skipped(bool container) {
    if (skipping_ == 0 && !skip_next_) return false;
    if (container) ++skipping_;
    if (skip_next_) open_.back().keys.pop_back();
    skip_next_ = false;
    return true;
  }

  bool open(TreeNode::Kind kind) {
    if (skipped(true)) return true;
    if (open_.size() >= kMaxJsonDepth) {
      problem_ = "more than " + std::to_string(kMaxJsonDepth) + " levels inside one another";
      return false;
    }
    TreeNode node;
    node.kind = kind;
    open_.push_back(std::move(node));
    return true;
  }

  bool close() {
    if (skipping_ > 0) {
      --skipping_;
      return true;
    }
    TreeNode node = std::move(open_.back());
    open_.pop_back();
    if (item_ != nullptr && open_.size() == depth_ && under(0, "items")) {
      nodes_ = 0;
      (*item_)(std::move(node));
      return true;
    }
    return put(std::move(node));
  }

  bool add(TreeNode node) {
    if (skipped(false)) return true;
    return put(std::move(node));
  }

  bool put(TreeNode node) {
    if (++nodes_ > kMaxJsonNodes) {
      problem_ = "more than " + std::to_string(kMaxJsonNodes) + " values in one object";
      return false;
    }
    (open_.empty() ? root_ : open_.back().children.emplace_back()) = std::move(node);
    return true;
  }

  std::size_t depth_;
  const LeaveOut& leave_out_;
  const std::function<void(TreeNode)>* item_;
  std::vector<TreeNode> open_;
  TreeNode root_;
  bool skip_next_ = false;
  std::size_t skipping_ = 0;  // containers open inside what is left out
  std::size_t nodes_ = 0;
  std::string problem_;
};

Result<TreeNode> parse(std::string_view text, std::size_t depth, const LeaveOut& leave_out,
                       const std::function<void(TreeNode)>* item = nullptr) {
  Builder builder(depth, leave_out, item);
  try {
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
      return Error{builder.problem().empty() ? "not valid JSON" : builder.problem()};
    }
  } catch (const nlohmann::json::exception& exception) {
    return Error{std::string("not valid JSON: ") + exception.what()};
  }
  return builder.take();
}

ApiStatus status_of(const TreeNode& root) {
  ApiStatus status;
  if (text_at(root, {"kind"}) != "Status") return status;
  status.reason = text_at(root, {"reason"});
  status.message = text_at(root, {"message"});
  const TreeNode* code = root.find("code");
  if (code != nullptr && code->kind == TreeNode::Kind::scalar) {
    std::from_chars(code->scalar.data(), code->scalar.data() + code->scalar.size(), status.code);
  }
  return status;
}

}  // namespace

std::string text_at(const TreeNode& node, std::initializer_list<std::string_view> path) {
  const TreeNode* at = node.find(path);
  return at != nullptr && at->kind == TreeNode::Kind::scalar && at->quoted ? at->scalar : std::string();
}

Result<ListPage> parse_list(std::string_view body, const LeaveOut& leave_out,
                            const std::function<void(TreeNode)>& item) {
  auto root = parse(body, 2, leave_out, &item);
  if (!root) return root.error();
  const TreeNode* items = root->find("items");
  const bool list = items != nullptr && (items->kind == TreeNode::Kind::null ||
                                         (items->kind == TreeNode::Kind::sequence && items->children.empty()));
  if (!list) return Error{"not a list of objects"};
  ListPage page{text_at(*root, {"metadata", "resourceVersion"}), text_at(*root, {"metadata", "continue"})};
  if (page.version.empty()) return Error{"a list without a resourceVersion"};
  return page;
}

Result<WatchEvent> parse_event(std::string_view line, const LeaveOut& leave_out) {
  auto root = parse(line, 1, leave_out);
  if (!root) return root.error();
  using Type = WatchEvent::Type;
  constexpr std::pair<std::string_view, Type> types[] = {{"ADDED", Type::added},
                                                         {"MODIFIED", Type::modified},
                                                         {"DELETED", Type::deleted},
                                                         {"BOOKMARK", Type::bookmark},
                                                         {"ERROR", Type::error}};
  const std::string type = text_at(*root, {"type"});
  WatchEvent event;
  bool known = false;
  for (const auto& [name, value] : types) {
    if (name != type) continue;
    event.type = value;
    known = true;
  }
  if (!known) return Error{"an event of the unknown type " + in_quotes(std::string_view(type))};
  for (std::size_t i = 0; i < root->keys.size(); ++i) {
    if (root->keys[i] == "object") event.object = std::move(root->children[i]);
  }
  if (event.object.kind != TreeNode::Kind::mapping) return Error{"an event without an object"};
  if (event.type == Type::error) {
    ApiStatus status = status_of(event.object);
    event.code = status.code;
    event.message = std::move(status.message);
    event.object = {};
    return event;
  }
  event.version = text_at(event.object, {"metadata", "resourceVersion"});
  if (event.version.empty()) return Error{"an object without a resourceVersion"};
  return event;
}

ApiStatus parse_status(std::string_view body) {
  if (!body.starts_with('{')) return {};
  const auto root = parse(body, 0, {"metadata"});
  return root ? status_of(*root) : ApiStatus{};
}

}  // namespace xlb
