// SPDX-License-Identifier: Apache-2.0
// Reading YAML without being hurt by it.
//
// yaml-cpp turns text into events by recursive descent, and reads ahead within a line. Three guards stand around it:
//  - check_nesting() runs before it, over the bytes, and refuses brackets nested too deeply; without it a line of
//    millions of brackets costs a hundred bytes of token for each of them before the first event comes.
//  - Builder counts the depth at each start event and throws. The parser opens every level with such an event before
//  it
//    descends, so its stack is bounded by the same number, in block style as well.
//  - Builder counts nodes, with each alias at the weight of what it stands for. An alias is written out (copied) when
//  it
//    is met: what it stands for is complete by then, or it is refused as standing inside itself.
#include "userspace/config/yaml_tree.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <istream>
#include <map>
#include <streambuf>
#include <utility>

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

// Carries a sentence through yaml-cpp's frames; never leaves this file.
struct Refused {
  int line;
  std::string sentence;
};

std::string too_deep() {
  return "lists and mappings stand inside one another more than " + std::to_string(kMaxYamlDepth) +
         " deep; no manifest needs that: write it flatter";
}

// A stream over bytes that somebody else keeps.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // only ever read: there is no put area
    setg(begin, begin, begin + text.size());
  }
};

// Depth of brackets outside quotes and comments. It does not know block scalars: brackets in there count too, which
// errs to refusing, and only where dozens are opened and never closed.
Result<void> check_nesting(std::string_view text, const std::string& source, int line) {
  int depth = 0;
  char before = '\n';  // the last byte but blanks: a quote opens a string only where a value may begin
  char previous = '\n';
  bool double_closes = true;  // false once a quote was found that never closes: none after it does
  bool single_closes = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool value_may_begin = before == '\n' || before == ':' || before == ',' || before == '[' || before == '{' ||
                                 before == '-' || before == '?';
    if (c == '\n') {
      ++line;
      before = '\n';
    } else if (c == '#' && (previous == ' ' || previous == '\t' || previous == '\n')) {
      while (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (((c == '"' && double_closes) || (c == '\'' && single_closes)) && value_may_begin) {
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != c) {
        if (c == '"' && text[end] == '\\') ++end;
        ++end;
      }
      if (end >= text.size()) {  // no string after all, or yaml-cpp will say what is wrong with it
        (c == '"' ? double_closes : single_closes) = false;
        before = c;
        previous = c;
        continue;
      }
      line += static_cast<int>(std::count(text.begin() + static_cast<std::ptrdiff_t>(i),
                                          text.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
      i = end;
      before = c;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxYamlDepth) return Error{too_deep()}.in(place(source, line));
      before = c;
    } else if (c == ']' || c == '}') {
      depth = std::max(0, depth - 1);
      before = c;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      before = c;
    }
    previous = text[i];
  }
  return {};
}

class Builder : public YAML::EventHandler {
 public:
  explicit Builder(int first_line) : first_line_(first_line) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (done_)
      throw Refused{line_of(mark), "something stands after the end of the document: begin a new one with ---"};
  }
  void OnDocumentEnd() override { done_ = true; }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    TreeNode node;
    node.line = line_of(mark);
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override;
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override;
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(TreeNode::Kind::sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(TreeNode::Kind::mapping, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

  std::optional<TreeNode> take() { return std::move(root_); }

 private:
  struct Open {
    TreeNode node;
    YAML::anchor_t anchor = 0;
    bool have_key = false;
    std::string key;
  };
  struct Anchored {
    TreeNode node;
    std::size_t weight = 1;  // nodes in it
    int height = 0;          // levels in it
  };

  [[nodiscard]] int line_of(const YAML::Mark& mark) const { return first_line_ + std::max(0, mark.line); }
  void open(TreeNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor);
  void close();
  void add(TreeNode node, YAML::anchor_t anchor);
  void count(std::size_t nodes, int line);

  int first_line_;
  bool done_ = false;
  int aliases_ = 0;
  std::size_t nodes_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchored> anchored_;
  std::optional<TreeNode> root_;
};

std::size_t weight_of(const TreeNode& node) {
  std::size_t weight = 1;
  for (const TreeNode& child : node.children) weight += weight_of(child);
  return weight;
}

int height_of(const TreeNode& node) {
  int height = 0;
  for (const TreeNode& child : node.children) height = std::max(height, height_of(child));
  return node.kind == TreeNode::Kind::sequence || node.kind == TreeNode::Kind::mapping ? height + 1 : 0;
}

void check_tag(const std::string& tag, int line) {
  constexpr std::array<std::string_view, 9> known = {"",
                                                     "?",
                                                     "!",
                                                     "tag:yaml.org,2002:str",
                                                     "tag:yaml.org,2002:int",
                                                     "tag:yaml.org,2002:bool",
                                                     "tag:yaml.org,2002:float",
                                                     "tag:yaml.org,2002:map",
                                                     "tag:yaml.org,2002:seq"};
  if (std::find(known.begin(), known.end(), tag) == known.end()) {
    throw Refused{line, "the tag " + in_quotes(tag) + " is not understood: remove it"};
  }
}

void Builder::count(std::size_t nodes, int line) {
  nodes_ += nodes;
  if (nodes_ > kMaxYamlNodes) {
    throw Refused{line, "the document holds more than " + std::to_string(kMaxYamlNodes) +
                            " values (aliases written out): split it with ---"};
  }
}

void Builder::open(TreeNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
  const int line = line_of(mark);
  if (open_.size() >= static_cast<std::size_t>(kMaxYamlDepth)) throw Refused{line, too_deep()};
  check_tag(tag, line);
  count(1, line);
  if (!open_.empty() && open_.back().node.kind == TreeNode::Kind::mapping && !open_.back().have_key) {
    throw Refused{line, "a key must be a word, and here it is a list or a mapping"};
  }
  Open opened;
  opened.node.kind = kind;
  opened.node.line = line;
  opened.anchor = anchor;
  open_.push_back(std::move(opened));
}

void Builder::close() {
  Open closed = std::move(open_.back());
  open_.pop_back();
  if (closed.node.kind == TreeNode::Kind::mapping) {
    std::vector<std::size_t> order(closed.node.keys.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto& keys = closed.node.keys;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (keys[order[i]] == keys[order[i - 1]]) {
        throw Refused{closed.node.children[order[i]].line,
                      "the key " + in_quotes(keys[order[i]]) + " is there already, at line " +
                          std::to_string(closed.node.children[order[i - 1]].line) + ": keep one of them"};
      }
    }
  }
  nodes_ -= 1;  // add() counts it again
  add(std::move(closed.node), closed.anchor);
}

void Builder::add(TreeNode node, YAML::anchor_t anchor) {
  count(1, node.line);
  if (anchor != 0) {
    Anchored anchored{node, weight_of(node), height_of(node)};
    count(anchored.weight, node.line);  // the copy is kept, so it counts
    anchored_[anchor] = std::move(anchored);
  }
  if (open_.empty()) {
    root_ = std::move(node);
    return;
  }
  Open& parent = open_.back();
  if (parent.node.kind == TreeNode::Kind::sequence) {
    parent.node.children.push_back(std::move(node));
  } else if (parent.have_key) {
    parent.node.keys.push_back(std::move(parent.key));
    parent.node.children.push_back(std::move(node));
    parent.have_key = false;
  } else {
    if (node.kind == TreeNode::Kind::null) throw Refused{node.line, "a key is missing in front of the colon"};
    if (node.kind != TreeNode::Kind::scalar) {
      throw Refused{node.line, "a key must be a word, and here it is a list or a mapping"};
    }
    if (node.scalar == "<<" && !node.quoted) {
      throw Refused{node.line, "merge keys (<<) are not understood: write the fields out"};
    }
    parent.key = std::move(node.scalar);
    parent.have_key = true;
  }
}

void Builder::OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       const std::string& value) {
  TreeNode node;
  node.kind = TreeNode::Kind::scalar;
  node.line = line_of(mark);
  check_tag(tag, node.line);
  node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
  node.scalar = value;
  add(std::move(node), anchor);
}

void Builder::OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) {
  const int line = line_of(mark);
  const auto found = anchored_.find(anchor);
  if (found == anchored_.end())
    throw Refused{line, "this alias stands inside the value that it repeats: write the value out"};
  if (++aliases_ > kMaxYamlAliases) {
    throw Refused{line, "more than " + std::to_string(kMaxYamlAliases) +
                            " aliases (*name) in one document: write the values out"};
  }
  if (open_.size() + static_cast<std::size_t>(found->second.height) > static_cast<std::size_t>(kMaxYamlDepth)) {
    throw Refused{line, too_deep()};
  }
  count(found->second.weight, line);
  nodes_ -= 1;  // add() counts the first
  TreeNode copy = found->second.node;
  copy.line = line;
  add(std::move(copy), 0);
}

bool tab_indents(std::string_view text, int line) {
  std::size_t begin = 0;
  for (int i = 0; i < line; ++i) {
    begin = text.find('\n', begin);
    if (begin == std::string_view::npos) return false;
    ++begin;
  }
  const std::size_t end = text.find_first_not_of(" \t", begin);
  const std::string_view blanks = text.substr(begin, end == std::string_view::npos ? end : end - begin);
  return blanks.find('\t') != std::string_view::npos;
}

}  // namespace

Result<void> check_text(std::string_view text, const std::string& source) {
  if (text.size() > kMaxYamlBytes) {
    return Error{"more than " + std::to_string(kMaxYamlBytes >> 20) + " MiB of YAML: split it into several files"}.in(
        source);
  }
  int line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\n') ++line;
    if ((byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7f) {
      const std::string what = byte == 0 ? "a NUL byte" : "the control character " + in_quotes(text.substr(i, 1));
      return Error{what + " in the text: this is not a text file, or it is damaged"}.in(place(source, line));
    }
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) return Error{"not valid UTF-8: save the file as UTF-8"}.in(place(source, line));
    i += length;
  }
  return {};
}

Result<std::optional<TreeNode>> parse_yaml(std::string_view text, const std::string& source, int first_line) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (auto flat = check_nesting(text, source, first_line); !flat) return flat.error();
  Builder builder(first_line);
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return Error{refused.sentence}.in(place(source, refused.line));
  } catch (const YAML::Exception& exception) {
    const int line = std::max(0, exception.mark.line);
    const std::string why = tab_indents(text, line) ? "a tab indents this line: YAML wants blanks" : exception.msg;
    return Error{"not valid YAML: " + why}.in(place(source, first_line + line));
  } catch (const std::exception& exception) {
    return Error{std::string("not valid YAML: ") + exception.what()}.in(source);
  }
  std::optional<TreeNode> root = builder.take();
  if (root && root->kind == TreeNode::Kind::null) root.reset();
  return root;
}

}  // namespace xlb
