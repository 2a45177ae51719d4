// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/manifests.hpp"

#include <functional>
#include <map>
#include <utility>

#include "userspace/config/declared.hpp"
#include "userspace/config/document_memory.hpp"
#include "userspace/core/allocator.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

// Calls `take` for each object of the text, items of a List one by one. `document` counts from 0.
using Take = std::function<Result<void>(const TreeNode& object, std::size_t document, bool in_list)>;

Result<void> take_root(const TreeNode& root, const std::string& source, std::size_t document, const Take& take) {
  Reading reading(source, root);
  if (!reading.root().mapping()) return *reading.error();
  const TreeNode* kind = root.find("kind");
  if (kind == nullptr || kind->kind != TreeNode::Kind::scalar || kind->scalar != "List")
    return take(root, document, false);
  reading.set_object("List");
  const Field version = reading.root()["apiVersion"];
  if (version.text() != "v1") version.fail("a List is read as v1: write apiVersion: v1");
  const Field list = reading.root()["items"];
  if (!list.present() && root.find("items") == nullptr) list.fail("missing: a List has items");
  for (const Field& item : list.items()) {
    if (!item.present()) item.fail("an empty entry: remove it");
    if (!item.mapping()) break;
    const TreeNode* inner = item.node()->find("kind");
    if (inner != nullptr && inner->scalar == "List") item.fail("a List inside a List: write its items out");
    if (reading.error()) break;
    if (auto taken = take(*item.node(), document, true); !taken) return taken;
  }
  if (reading.error()) return *reading.error();
  return {};
}

Result<void> each_object_of(std::string_view text, const std::string& source, const Document& document,
                            std::size_t number, const Take& take) {
  auto root = parse_yaml(document.in(text), source, document.line);
  if (!root) return root.error();
  return *root ? take_root(**root, source, number, take) : Result<void>();
}

Result<void> each_object(std::string_view text, const std::string& source, const Take& take) {
  if (auto sound = check_text(text, source); !sound) return sound;
  const std::vector<Document> documents = split_documents(text);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (auto taken = each_object_of(text, source, documents[i], i, take); !taken) return taken;
  }
  return {};
}

Result<void> too_many(const std::string& source) {
  return Error{"more than " + std::to_string(kMaxObjects) + " objects: that is beyond what one node serves"}.in(
      source);
}

Result<void> no_duplicates(const std::vector<Declared>& declared) {
  std::map<ObjectId, const Declared*> seen;
  for (const Declared& one : declared) {
    const auto [it, fresh] = seen.emplace(one.id, &one);
    if (fresh) continue;
    const bool pool = one.id.kind == "IPAddressPool";
    const std::string what = pool ? "pool " + in_quotes(std::string_view(one.id.name.name)) : one.id.text();
    return Error{"duplicate definition of " + what + ": it is at " + place(it->second->source, it->second->line) +
                 " already: remove one"}
        .in(place(one.source, one.line));
  }
  return {};
}

Objects first_of(const std::vector<Declared>& declared, std::size_t count) {
  struct Adder {
    Objects& to;
    const std::shared_ptr<const Object>& whole;  // shares its memory with what is in it
    void operator()(const Pool& pool) const { to.pools.push_back(pool); }
    void operator()(const L2Advertisement& advertisement) const { to.advertisements.push_back(advertisement); }
    void operator()(const Service& service) const { to.services.share({whole, &service}); }
    void operator()(const EndpointSlice& slice) const { to.slices.share({whole, &slice}); }
    void operator()(const Node& node) const { to.nodes.push_back(node); }
    void operator()(const NamespaceLabels& ns) const { to.namespaces.own()[ns.name] = ns.labels; }
  };
  Objects objects;
  for (std::size_t i = 0; i < count; ++i) std::visit(Adder{objects, declared[i].object}, *declared[i].object);
  return objects;
}

}  // namespace

std::string ObjectId::text() const {
  return kind + " " + (name.ns.empty() ? name.name : name.text());
}

Result<std::vector<Declared>> declared_in(std::string_view text, const std::string& source,
                                          std::vector<std::string>& warnings, DocumentMemory* memory) {
  if (auto sound = check_text(text, source); !sound) return sound.error();
  std::vector<Declared> out;
  const std::vector<Document> documents = split_documents(text);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const Document& document = documents[i];
    const std::vector<Declared>* known = memory == nullptr ? nullptr : memory->known().find(document.in(text));
    if (known != nullptr) {
      for (const Declared& one : *known) {
        out.push_back({one.id, source, document.line + one.line, i, one.object});
      }
      if (out.size() > kMaxObjects) return too_many(source).error();
      continue;
    }
    const std::size_t first = out.size();
    const std::size_t said = warnings.size();
    const auto take = [&](const TreeNode& node, std::size_t number, bool) -> Result<void> {
      Reading reading(source, node);
      const std::optional<ObjectId> id = read_identity(reading);
      if (!id) return *reading.error();
      Declared declared{*id, source, node.line, number, std::make_shared<const Object>(read_object(*id, reading))};
      if (reading.error()) return *reading.error();
      warnings.insert(warnings.end(), reading.warnings().begin(), reading.warnings().end());
      out.push_back(std::move(declared));
      return out.size() > kMaxObjects ? too_many(source) : Result<void>{};
    };
    if (auto taken = each_object_of(text, source, document, i, take); !taken) return taken.error();
    // Warnings name the place, so what was warned about is read again.
    if (memory != nullptr && warnings.size() == said) {
      std::vector<Declared> found(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
      for (Declared& one : found) one.line -= document.line;
      memory->known().keep(document.in(text), std::move(found));
    }
  }
  return out;
}

Result<std::vector<ObjectId>> names_in(std::string_view text, const std::string& source) {
  std::vector<ObjectId> out;
  auto done = each_object(text, source, [&](const TreeNode& node, std::size_t, bool) -> Result<void> {
    Reading reading(source, node);
    const std::optional<ObjectId> id = read_identity(reading);
    if (!id) return *reading.error();
    out.push_back(*id);
    return out.size() > kMaxObjects ? too_many(source) : Result<void>{};
  });
  if (!done) return done.error();
  return out;
}

Result<std::vector<std::pair<ObjectId, std::string>>> bodies_in(std::string_view document, const std::string& source,
                                                                int line) {
  std::vector<std::pair<ObjectId, std::string>> out;
  auto root = parse_yaml(document, source, line);
  if (!root) return root.error();
  if (!*root) return out;
  auto done = take_root(**root, source, 0, [&](const TreeNode& node, std::size_t, bool in_list) -> Result<void> {
    Reading reading(source, node);
    const std::optional<ObjectId> id = read_identity(reading);
    if (!id) return *reading.error();
    out.emplace_back(*id, in_list ? yaml_text(node) : document_body(document));
    return {};
  });
  if (!done) return done.error();
  return out;
}

Result<Objects> together(const std::vector<Declared>& declared) {
  if (auto unique = no_duplicates(declared); !unique) return unique.error();
  Objects all = first_of(declared, declared.size());
  if (validate(all)) return all;
  // What stands in the way stays there when more comes: the shortest beginning that is refused ends with the culprit.
  std::size_t sound = 0;
  std::size_t refused = declared.size();
  while (refused - sound > 1) {
    const std::size_t middle = sound + (refused - sound) / 2;
    (validate(first_of(declared, middle)) ? sound : refused) = middle;
  }
  const Declared& culprit = declared[refused - 1];
  return validate(first_of(declared, refused)).error().in(culprit.id.text()).in(place(culprit.source, culprit.line));
}

Result<ParsedManifests> parse_manifests(std::string_view yaml, const std::string& source) {
  ParsedManifests out;
  auto declared = declared_in(yaml, source, out.warnings);
  if (!declared) return declared.error();
  auto objects = together(*declared);
  if (!objects) return objects.error();
  out.objects = std::move(*objects);
  return out;
}

Result<std::vector<ObjectId>> object_ids(const std::vector<NamedText>& documents) {
  std::vector<ObjectId> out;
  for (const NamedText& document : documents) {
    auto ids = names_in(document.yaml, document.source);
    if (!ids) return ids.error();
    out.insert(out.end(), ids->begin(), ids->end());
  }
  return out;
}

}  // namespace xlb
