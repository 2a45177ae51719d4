// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "userspace/config/yaml_tree.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

// Words that stay the same string without quotes, whatever stands around them.
bool safe_without_quotes(const std::string& text) {
  if (text.empty() || text == "null" || text == "Null" || text == "NULL") return false;
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/' ||
           c == '_';
  };
  if (!word(text.front()) || !word(text.back())) return false;
  for (const char c : text) {
    if (!word(c) && c != '-' && c != ':') return false;
  }
  if (text.starts_with("---") || text.starts_with("...")) return false;
  TreeNode plain;
  plain.kind = TreeNode::Kind::scalar;
  plain.scalar = text;
  return scalar_type(plain) == ScalarType::string;
}

std::string escaped(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string scalar_text(const TreeNode& node) {
  if (scalar_type(node) != ScalarType::string) return node.scalar;
  return safe_without_quotes(node.scalar) ? node.scalar : escaped(node.scalar);
}

std::string key_text(const std::string& key) {
  return safe_without_quotes(key) ? key : escaped(key);
}

// `out` ends where the value begins: after "key:", after "-", or at the start of the text.
void write(std::string& out, const TreeNode& node, std::size_t indent, bool after_dash) {
  const bool at_start = out.empty();
  switch (node.kind) {
    case TreeNode::Kind::null:
      out += at_start ? "null\n" : " null\n";
      return;
    case TreeNode::Kind::scalar:
      out += at_start ? "" : " ";
      out += scalar_text(node) + "\n";
      return;
    case TreeNode::Kind::sequence:
    case TreeNode::Kind::mapping:
      break;
  }
  const bool mapping = node.kind == TreeNode::Kind::mapping;
  if (node.children.empty()) {
    out += at_start ? "" : " ";
    out += mapping ? "{}\n" : "[]\n";
    return;
  }
  if (after_dash) {
    out += ' ';  // the first line of it stands behind the dash
  } else if (!at_start) {
    out += '\n';
  }
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    if (i > 0 || !after_dash) out.append(indent, ' ');
    if (mapping) {
      out += key_text(node.keys[i]) + ":";
      const bool list = node.children[i].kind == TreeNode::Kind::sequence;
      write(out, node.children[i], list ? indent : indent + 2, false);
    } else {
      out += "-";
      write(out, node.children[i], indent + 2, true);
    }
  }
}

}  // namespace

std::string yaml_text(const TreeNode& node) {
  std::string out;
  write(out, node, 0, false);
  return out;
}

TreeNode yaml_string(std::string text) {
  TreeNode node;
  node.kind = TreeNode::Kind::scalar;
  node.quoted = true;
  node.scalar = std::move(text);
  return node;
}

TreeNode yaml_plain(std::string text) {
  TreeNode node = yaml_string(std::move(text));
  node.quoted = false;
  return node;
}

TreeNode yaml_mapping() {
  TreeNode node;
  node.kind = TreeNode::Kind::mapping;
  return node;
}

TreeNode yaml_sequence() {
  TreeNode node;
  node.kind = TreeNode::Kind::sequence;
  return node;
}

TreeNode& yaml_set(TreeNode& mapping, std::string key, TreeNode value) {
  mapping.keys.push_back(std::move(key));
  mapping.children.push_back(std::move(value));
  return mapping.children.back();
}

TreeNode yaml_strings(const std::vector<std::string>& texts) {
  TreeNode node = yaml_sequence();
  for (const std::string& text : texts) node.children.push_back(yaml_string(text));
  return node;
}

}  // namespace xlb
