// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/render.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>

namespace xlb {

namespace {

constexpr const char* kNothing = "<none>";

const std::string& shown(const Cell& cell) {
  static const std::string nothing = kNothing;
  return cell.text.empty() ? nothing : cell.text;
}

// Columns of the terminal, not bytes: a name may hold UTF-8.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

std::string painted(const std::string& text, Tone tone) {
  if (tone == Tone::good) return "\033[32m" + text + "\033[0m";
  if (tone == Tone::bad) return "\033[31m" + text + "\033[0m";
  return text;
}

// A JSON string is a YAML double-quoted scalar; plain is what nobody can take for something else.
std::string yaml_scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  static const std::string words[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '/' || c == '.'; };
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  const bool letter = !text.empty() && std::isalpha(static_cast<unsigned char>(text.front()));
  if (letter && std::all_of(text.begin(), text.end(), plain) && std::find(std::begin(words), std::end(words), lower) == std::end(words))
    return text;
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void yaml(std::string& out, const Json& value, std::size_t depth, bool after_dash) {
  const std::string indent(depth * 2, ' ');
  if (value.is_object() && !value.empty()) {
    bool first = after_dash;
    for (const auto& [key, entry] : value.items()) {
      out += (first ? std::string() : indent) + yaml_scalar(Json(key)) + ":";
      first = false;
      const bool nested = entry.is_structured() && !entry.empty();
      out += nested ? "\n" : " ";
      // A list stands at its key's own depth, as kubectl writes it.
      yaml(out, entry, entry.is_array() ? depth : depth + 1, false);
    }
    return;
  }
  if (value.is_array() && !value.empty()) {
    for (const Json& entry : value) {
      out += indent + "- ";
      if (entry.is_array() && !entry.empty()) out += "\n";
      yaml(out, entry, depth + 1, true);
    }
    return;
  }
  out += (value.is_array() ? "[]" : value.is_object() ? "{}" : yaml_scalar(value)) + "\n";
}

}  // namespace

void Table::print(std::ostream& out, bool wide, bool colour) const {
  std::vector<std::size_t> shown_columns, widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].wide_only && !wide) continue;
    std::size_t most = width(columns_[i].title);
    for (const auto& row : rows_) most = std::max(most, width(shown(row.at(i))));
    shown_columns.push_back(i);
    widths.push_back(most);
  }
  const auto line = [&](const auto& text_of, const auto& tone_of) {
    for (std::size_t n = 0; n < shown_columns.size(); ++n) {
      const std::size_t i = shown_columns[n];
      const std::string& text = text_of(i);
      const std::string pad(widths[n] - width(text), ' ');
      const bool last = n + 1 == shown_columns.size();
      if (columns_[i].right) out << pad;
      out << (colour ? painted(text, tone_of(i)) : text);
      if (!columns_[i].right && !last) out << pad;
      out << (last ? "\n" : "   ");
    }
  };
  line([&](std::size_t i) -> const std::string& { return columns_[i].title; }, [](std::size_t) { return Tone::plain; });
  for (const auto& row : rows_)
    line([&](std::size_t i) -> const std::string& { return shown(row[i]); }, [&](std::size_t i) { return row[i].tone; });
}

std::string yaml_text(const Json& document) {
  std::string text;
  yaml(text, document, 0, false);
  return text;
}

void print_document(std::ostream& out, const Json& document, OutputFormat format) {
  if (format == OutputFormat::yaml)
    out << yaml_text(document);
  else
    out << document.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

bool colour_wanted() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && !(no_colour && *no_colour);
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::string joined(const Json& words, const char* between) { return joined(words.get<std::vector<std::string>>(), between); }

}  // namespace xlb
