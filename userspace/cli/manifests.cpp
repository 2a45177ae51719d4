// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "userspace/cli/command.hpp"

namespace xlb {

namespace {

Result<std::vector<NamedText>> read_all(const std::vector<std::string>& files) {
  std::vector<NamedText> documents;
  for (const std::string& file : files) {
    auto document = read_document(file);
    if (!document) return document.error();
    // A truncated write or a wrong path, not a wish. What cannot be parsed is told by the command itself.
    if (const auto objects = object_ids({*document}); objects && objects->empty())
      return Error{file + ": no object is in it"};
    documents.push_back(std::move(*document));
  }
  return documents;
}

int apply_files(const Context& context, const std::vector<std::string>& files) {
  auto documents = read_all(files);
  if (!documents) return fail(documents.error().in("apply"));
  return changed(change(context, "apply", ApplyRequest{std::move(*documents)}));
}

int delete_files(const Context& context, const std::vector<std::string>& files) {
  auto documents = read_all(files);
  if (!documents) return fail(documents.error().in("delete"));
  auto objects = object_ids(*documents);
  if (!objects) return fail(objects.error().in("delete"));
  return changed(change(context, "delete", DeleteRequest{std::move(*objects)}));
}

// Needs no rights and no kernel: also for a desk or a CI machine.
int check(const Context& context, const std::vector<std::string>& files) {
  auto documents = read_all(files);
  if (!documents) return fail(documents.error().in("check"));
  Reconciler reconciler(context.settings, Edges{});
  auto outcome = reconciler.check(*documents);
  if (!outcome) return fail(outcome.error().in("check"));
  for (const ChangeReport& report : outcome->changes)
    std::cout << report.object.text() << " is valid, and would be " << change_text(report.change) << "\n";
  for (const std::string& warning : outcome->warnings) warn(warning);
  return kDone;
}

}  // namespace

void add_manifests(CLI::App& app, Context& context) {
  const auto add = [&](const char* name, const char* description,
                       int (*action)(const Context&, const std::vector<std::string>&)) {
    auto* command = app.add_subcommand(name, description);
    auto files = std::make_shared<std::vector<std::string>>();
    command->add_option("-f,--filename", *files, "Files with YAML documents; - is standard input")
        ->required()
        ->type_name("FILE");
    command->callback([&context, files, action] { context.action = [&context, files, action] { return action(context, *files); }; });
  };
  add("apply", "Take manifests in, whole or not at all", apply_files);
  add("delete", "Take out the objects that these manifests name", delete_files);
  add("check", "Say whether apply would take these manifests, and change nothing", check);
}

}  // namespace xlb
