// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/model.hpp"

#include <algorithm>

namespace xlb {
namespace {

// As Kubernetes has it: NotIn and DoesNotExist hold for an object without the label.
bool matches_requirement(const LabelRequirement& requirement, const Labels& labels) {
  const auto label = labels.find(requirement.key);
  const bool present = label != labels.end();
  const auto listed = [&] {
    return std::find(requirement.values.begin(), requirement.values.end(), label->second) != requirement.values.end();
  };
  switch (requirement.op) {
    case LabelRequirement::Operator::in:
      return present && listed();
    case LabelRequirement::Operator::not_in:
      return !present || !listed();
    case LabelRequirement::Operator::exists:
      return present;
    case LabelRequirement::Operator::does_not_exist:
      return !present;
  }
  return false;
}

}  // namespace

bool LabelSelector::matches(const Labels& labels) const {
  return std::all_of(requirements.begin(), requirements.end(),
                     [&](const LabelRequirement& requirement) { return matches_requirement(requirement, labels); });
}

const char* protocol_text(Protocol protocol) {
  return protocol == Protocol::udp ? "UDP" : "TCP";
}

}  // namespace xlb
