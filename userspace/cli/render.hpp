// SPDX-License-Identifier: Apache-2.0
// How facts look: tables as kubectl prints them, JSON and YAML from the same document.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace xlb {

using Json = nlohmann::ordered_json;

enum class OutputFormat : std::uint8_t { table, wide, json, yaml };

enum class Tone : std::uint8_t { plain, good, bad };

struct Cell {
  Cell(std::string cell_text, Tone cell_tone = Tone::plain)  // NOLINT: implicit by intent
      : text(std::move(cell_text)), tone(cell_tone) {}
  Cell(const char* cell_text) : text(cell_text) {}  // NOLINT: implicit by intent
  std::string text;
  Tone tone = Tone::plain;
};

struct Column {
  std::string title;
  bool wide_only = false;
  bool right = false;  // figures
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  // Upper-case titles, three blanks between columns, "<none>" for what is empty, nothing behind the last column.
  void print(std::ostream& out, bool wide, bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

std::string yaml_text(const Json& document);
// json or yaml; ends with a newline.
void print_document(std::ostream& out, const Json& document, OutputFormat format);

// On a terminal, unless NO_COLOR is set (no-color.org).
bool colour_wanted();

std::string joined(const std::vector<std::string>& words, const char* between);
std::string joined(const Json& words, const char* between);  // an array of strings

}  // namespace xlb
