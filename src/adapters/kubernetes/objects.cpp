#include "adapters/kubernetes/objects.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace mayfly::kubernetes {
namespace {

std::string text_at(const json::value& in, std::string_view path) {
  auto text = find_string(in, path).value_or("");
  if (text.size() > max_text_bytes) text.resize(max_text_bytes);
  return clean_text(std::move(text));
}

const json::array* array_at(const json::value& in, std::string_view path) {
  auto* value = find(in, path);
  return value ? value->if_array() : nullptr;
}

std::map<std::string, std::string> read_labels(const json::value& in) {
  std::map<std::string, std::string> out;
  auto* labels = find(in, "metadata.labels");
  if (!labels || !labels->is_object()) return out;
  for (auto& [key, value] : labels->get_object()) {
    if (out.size() == max_labels) break;
    if (value.is_string() && key.size() <= max_text_bytes && value.get_string().size() <= max_text_bytes) out.emplace(key, value.get_string());
  }
  return out;
}

std::string controller_of(const json::value& in) {
  if (auto* owners = array_at(in, "metadata.ownerReferences"))
    for (auto& owner : *owners)
      if (find_bool(owner, "controller").value_or(false)) return text_at(owner, "uid");
  return {};
}

std::vector<Condition> read_conditions(const json::value& in) {
  std::vector<Condition> out;
  auto* list = array_at(in, "status.conditions");
  if (!list) return out;
  for (auto& one : *list) {
    if (out.size() == max_conditions) break;
    out.push_back({text_at(one, "type"), text_at(one, "status") == "True", text_at(one, "reason"), text_at(one, "message")});
  }
  return out;
}

std::optional<Ended> read_ended(const json::value& in, std::string_view state) {
  auto* ended = find(in, std::string(state) + ".terminated");
  if (!ended || !ended->is_object()) return std::nullopt;
  return Ended{int(find_int(*ended, "exitCode").value_or(0)), text_at(*ended, "reason"), text_at(*ended, "message")};
}

void read_containers(const json::value& in, std::string_view path, std::vector<Container>& into) {
  auto* list = array_at(in, path);
  if (!list) return;
  for (auto& one : *list) {
    if (into.size() == max_containers) return;
    auto* running = find(one, "state.running");
    into.push_back({.name = text_at(one, "name"), .running = running && running->is_object(), .started = find_bool(one, "started").value_or(false),
                    .waiting = text_at(one, "state.waiting.reason"), .waiting_message = text_at(one, "state.waiting.message"),
                    .ended = read_ended(one, "state"), .ended_before = read_ended(one, "lastState"), .image = text_at(one, "image")});
  }
}

Object object_of(const json::value& in) {
  Object out{.name = text_at(in, "metadata.name"), .uid = text_at(in, "metadata.uid"), .resource_version = text_at(in, "metadata.resourceVersion"),
             .owner_uid = controller_of(in), .labels = read_labels(in), .conditions = read_conditions(in),
             .phase = text_at(in, "status.phase"), .reason = text_at(in, "status.reason"), .message = text_at(in, "status.message"),
             .node = text_at(in, "spec.nodeName")};
  if (auto at = find_string(in, "metadata.deletionTimestamp")) {
    auto time = parse_rfc3339(*at);
    out.deletion = time ? *time : Time{};
  }
  read_containers(in, "status.initContainerStatuses", out.containers);
  read_containers(in, "status.containerStatuses", out.containers);
  return out;
}

Result<json::value> parse(std::string_view text) {
  auto body = parse_json(text);
  if (!body) return fail(Errc::corrupt, "Kubernetes sent what is no JSON: " + body.error().message);
  if (!body->is_object()) return fail(Errc::corrupt, "Kubernetes sent no object");
  return body;
}

Result<Object> checked(Object object) {
  if (object.name.empty() || object.uid.empty()) return fail(Errc::corrupt, "Kubernetes sent an object without name or uid");
  return object;
}

std::optional<Event::Kind> kind_of(std::string_view word) {
  if (word == "ADDED") return Event::Kind::added;
  if (word == "MODIFIED") return Event::Kind::modified;
  if (word == "DELETED") return Event::Kind::deleted;
  if (word == "BOOKMARK") return Event::Kind::bookmark;
  if (word == "ERROR") return Event::Kind::error;
  return std::nullopt;
}

bool ends_initial_events(const json::value& object) {
  auto* annotations = find(object, "metadata.annotations");
  auto* mark = annotations && annotations->is_object() ? annotations->get_object().if_contains("k8s.io/initial-events-end") : nullptr;
  return mark && mark->is_string() && mark->get_string() == "true";
}

}  // namespace

const Condition* Object::condition(std::string_view type) const {
  auto at = std::ranges::find(conditions, type, &Condition::type);
  return at == conditions.end() ? nullptr : &*at;
}

const Container* Object::container(std::string_view wanted) const {
  auto at = std::ranges::find(containers, wanted, &Container::name);
  return at == containers.end() ? nullptr : &*at;
}

std::string Object::label(std::string_view wanted) const {
  auto at = labels.find(std::string(wanted));
  return at == labels.end() ? std::string() : at->second;
}

Result<Object> read_object(std::string_view text) {
  TRY_ASSIGN(auto body, parse(text));
  return checked(object_of(body));
}

Result<Page> read_page(std::string_view text) {
  TRY_ASSIGN(auto body, parse(text));
  Page out{.resource_version = text_at(body, "metadata.resourceVersion"), .next = find_string(body, "metadata.continue").value_or("")};
  if (out.resource_version.empty()) return fail(Errc::corrupt, "Kubernetes sent a list without a version");
  auto* items = array_at(body, "items");
  if (!items) return out;
  for (auto& item : *items) {
    TRY_ASSIGN(auto object, checked(object_of(item)));
    out.objects.push_back(std::move(object));
  }
  return out;
}

Result<Event> read_event(std::string_view text) {
  TRY_ASSIGN(auto body, parse(text));
  auto kind = kind_of(text_at(body, "type"));
  auto* object = find(body, "object");
  if (!kind || !object || !object->is_object()) return fail(Errc::corrupt, "Kubernetes sent an event of no known kind");
  Event out{.kind = *kind};
  if (*kind == Event::Kind::error) {
    out.code = int(find_int(*object, "code").value_or(0));
    out.message = text_at(*object, "message");
    return out;
  }
  out.object = object_of(*object);
  if (out.object.resource_version.empty()) return fail(Errc::corrupt, "Kubernetes sent an event without a version");
  if (*kind == Event::Kind::bookmark) {
    out.initial_end = ends_initial_events(*object);
    return out;
  }
  TRY_ASSIGN(out.object, checked(std::move(out.object)));
  return out;
}

std::string newest_message(std::string_view text, std::string_view reason) {
  auto body = parse_json(text);
  auto* items = body ? array_at(*body, "items") : nullptr;
  if (!items) return {};
  std::string newest_at, message;
  for (auto& item : *items) {
    if (text_at(item, "reason") != reason) continue;
    auto at = text_at(item, "lastTimestamp");
    if (at.empty()) at = text_at(item, "eventTime");
    if (message.empty() || at >= newest_at) {
      newest_at = at;
      message = text_at(item, "message");
    }
  }
  return message;
}

}  // namespace mayfly::kubernetes
