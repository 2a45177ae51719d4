// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/object_fields.hpp"

#include <algorithm>
#include <utility>

#include "userspace/core/text.hpp"

namespace xlb {

Labels read_labels(const Field& mapping) {
  Labels labels;
  for (const auto& [key, value] : mapping.entries()) labels[key] = value.text();
  return labels;
}

LabelSelector read_selector(const Field& field) {
  using Operator = LabelRequirement::Operator;
  LabelSelector selector;
  field.only({"matchLabels", "matchExpressions"});
  for (const auto& [key, value] : field["matchLabels"].entries()) {
    selector.requirements.push_back({key, Operator::in, {value.text()}});
  }
  std::vector<LabelRequirement> seen;
  for (const Field& expression : field["matchExpressions"].items()) {
    expression.only({"key", "operator", "values"});
    LabelRequirement requirement;
    requirement.key = expression["key"].required_text("invalid label selector: a match expression names a label");
    if (!expression["operator"].present()) {
      expression["operator"].fail("missing: invalid label selector: write In, NotIn, Exists or DoesNotExist");
    }
    requirement.op = static_cast<Operator>(expression["operator"].word({"In", "NotIn", "Exists", "DoesNotExist"}, 0));
    for (const Field& value : expression["values"].items()) requirement.values.push_back(value.text());
    const bool wants_values = requirement.op == Operator::in || requirement.op == Operator::not_in;
    if (wants_values && requirement.values.empty()) {
      expression["values"].fail("invalid label selector: In and NotIn need at least one value");
    }
    if (!wants_values && !requirement.values.empty()) {
      expression["values"].fail("invalid label selector: Exists and DoesNotExist take no values: remove them");
    }
    LabelRequirement sorted = requirement;
    std::sort(sorted.values.begin(), sorted.values.end());
    if (std::find(seen.begin(), seen.end(), sorted) != seen.end()) {
      expression.fail("duplicate definition of match expression with key " + in_quotes(std::string_view(sorted.key)) +
                      ": remove one");
    }
    seen.push_back(std::move(sorted));
    selector.requirements.push_back(std::move(requirement));
  }
  return selector;
}

std::vector<LabelSelector> read_selectors(const Field& list) {
  std::vector<LabelSelector> selectors;
  for (const Field& item : list.items()) {
    LabelSelector selector = read_selector(item);
    if (std::find(selectors.begin(), selectors.end(), selector) != selectors.end()) {
      item.fail("duplicate definition of selector: remove one");
    }
    selectors.push_back(std::move(selector));
  }
  return selectors;
}

Protocol read_protocol(const Field& field) {
  if (field.text() == "SCTP") field.fail("SCTP is not supported: write TCP or UDP");
  return field.word({"TCP", "UDP"}, 0) == 0 ? Protocol::tcp : Protocol::udp;
}

std::uint16_t read_port(const Field& field) {
  if (!field.present()) field.fail("missing: a port is a whole number from 1 to 65535");
  return static_cast<std::uint16_t>(field.integer(1, 65535, 1));
}

std::optional<Address> read_address(const Field& field) {
  const std::string text = field.required_text("an address is needed here");
  if (text.empty()) return std::nullopt;
  const Result<Address> address = parse_address(text);
  if (!address) {
    field.fail("invalid address " + in_quotes(std::string_view(text)) + ": write it as 192.168.0.7 or fd00::7");
    return std::nullopt;
  }
  return *address;
}

}  // namespace xlb
