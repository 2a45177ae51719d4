// SPDX-License-Identifier: Apache-2.0
// As much of JSON Schema as docs/schema uses: type, required, properties, additionalProperties (a schema), items, enum, minimum,
// oneOf. Stricter in one thing: a key that the schema does not name is a violation, so that none goes undocumented.
#pragma once

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace xlb::schema {

using Json = nlohmann::json;

inline bool is_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "integer") return value.is_number_integer() || value.is_number_unsigned();
  return false;
}

// What is wrong, or nothing.
inline std::string violation(const Json& value, const Json& schema, const std::string& where = "$") {
  if (schema.contains("oneOf")) {
    const Json& forms = schema["oneOf"];
    const auto fitting = std::count_if(forms.begin(), forms.end(), [&](const Json& form) { return violation(value, form).empty(); });
    return fitting == 1 ? "" : where + " fits " + std::to_string(fitting) + " of the forms";
  }
  if (schema.contains("type") && !is_type(value, schema["type"])) return where + " is not of type " + schema["type"].dump();
  if (schema.contains("minimum") && value < schema["minimum"]) return where + " is " + value.dump();
  if (schema.contains("enum") && std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end())
    return where + " is " + value.dump();
  if (value.is_object()) {
    for (const Json& key : schema.value("required", Json::array()))
      if (!value.contains(key.get<std::string>())) return where + " lacks " + key.get<std::string>();
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [key, entry] : value.items()) {
      if (!properties.contains(key) && !schema.contains("additionalProperties"))
        return where + " has a key that the schema does not name: " + key;
      const Json& inner = properties.contains(key) ? properties[key] : schema["additionalProperties"];
      if (auto wrong = violation(entry, inner, where + "." + key); !wrong.empty()) return wrong;
    }
  }
  if (value.is_array() && schema.contains("items")) {
    std::size_t index = 0;
    for (const Json& entry : value)
      if (auto wrong = violation(entry, schema["items"], where + "[" + std::to_string(index++) + "]"); !wrong.empty()) return wrong;
  }
  return {};
}

inline Json read(const std::string& name) {
  std::ifstream in(std::string(XLB_SOURCE_DIR) + "/docs/schema/" + name + ".json");
  return Json::parse(in);
}

}  // namespace xlb::schema
