#include <algorithm>

#include "domain/names.h"
#include "domain/pipeline/pipeline.h"
#include "domain/pipeline/forms.h"
#include "domain/pipeline/shape.h"

namespace mayfly {
namespace {

constexpr Name<Priority> priorities[] = {{Priority::low, "low"}, {Priority::normal, "normal"}, {Priority::high, "high"}};
constexpr Name<ArtifactsWhen> whens[] = {{ArtifactsWhen::success, "success"}, {ArtifactsWhen::failure, "failure"}, {ArtifactsWhen::always, "always"}};
constexpr Name<ForkPolicy> fork_policies[] = {{ForkPolicy::approve, "approve"}, {ForkPolicy::never, "never"}, {ForkPolicy::trusted, "trusted"}};

// What is absent or of the wrong shape decodes as nothing: check_shape has said so.

const YamlNode* under(const YamlNode* map, std::string_view key) { return map && map->is_map() ? map->find(key) : nullptr; }

Text text(const YamlNode* node) {
  if (!node || !node->is_scalar()) return {};
  return {node->is_null() ? std::string() : node->text, node->at, node};
}

std::vector<Text> texts(const YamlNode* node) {
  std::vector<Text> out;
  if (!node || node->is_map() || node->is_null()) return out;
  if (node->is_scalar()) return {text(node)};
  for (auto* item : node->items)
    if (item->is_scalar()) out.push_back(text(item));
  return out;
}

std::vector<std::string> strings(const YamlNode* node) {
  std::vector<std::string> out;
  for (auto& item : texts(node)) out.push_back(std::move(item.text));
  return out;
}

TextMap text_map(const YamlNode* node) {
  TextMap out;
  if (!node || !node->is_map()) return out;
  for (auto& entry : node->entries)
    if (entry.value->is_scalar()) out.emplace_back(text(entry.key), text(entry.value));
  return out;
}

template <class E, std::size_t N>
std::optional<E> word(const Name<E> (&table)[N], const YamlNode* node) {
  return node && node->is_scalar() ? value_of(table, node->text) : std::nullopt;
}

std::optional<bool> boolean(const YamlNode* node) { return node ? node->as_bool() : std::nullopt; }
std::optional<Duration> duration(const YamlNode* node) { return node && node->is_scalar() ? read_duration(*node) : std::nullopt; }
std::optional<std::int64_t> integer(const YamlNode* node) { return node ? read_integer(*node) : std::nullopt; }

std::optional<RetrySpec> retry(const YamlNode* node) {
  if (!node) return std::nullopt;
  RetrySpec out;
  if (!node->is_map()) {
    out.max = int(integer(node).value_or(0));
    return out;
  }
  out.max = int(integer(node->find("max")).value_or(0));
  if (auto* on = node->find("on")) {
    auto reasons = strings(on);
    auto has = [&](std::string_view reason) { return std::ranges::find(reasons, reason) != reasons.end(); };
    out.on_failure = has("failure");
    out.on_timeout = has("timeout");
    out.on_oom = has("oom");
  }
  return out;
}

std::optional<CheckoutSpec> checkout(const YamlNode* node) {
  if (!node) return std::nullopt;
  CheckoutSpec out;
  out.enabled = boolean(node).value_or(true);
  out.depth = int(integer(under(node, "depth")).value_or(out.depth));
  out.submodules = boolean(under(node, "submodules")).value_or(false);
  return out;
}

ResourcesDef resources(const YamlNode* node) {
  auto* cpu = under(node, "cpu");
  auto* memory = under(node, "memory");
  auto* disk = under(node, "disk");
  return {cpu ? read_cpu(*cpu) : std::nullopt, memory ? read_size(*memory) : std::nullopt, disk ? read_size(*disk) : std::nullopt};
}

CommonDef common(const YamlNode* map) {
  CommonDef out;
  out.image = text(under(map, "image"));
  if (auto* isolation = under(map, "isolation")) out.isolation = isolation_from(isolation->text);
  out.shell = text(under(map, "shell"));
  if (auto* network = under(map, "network")) out.network = network->text != "none";
  out.resources = resources(under(map, "resources"));
  out.timeout = duration(under(map, "timeout"));
  out.retry = retry(under(map, "retry"));
  out.checkout = checkout(under(map, "checkout"));
  if (auto* labels = under(map, "runs_on")) out.runs_on = texts(labels);
  return out;
}

std::vector<StepDef> steps(const YamlNode* list) {
  std::vector<StepDef> out;
  if (!list || !list->is_list()) return out;
  for (auto* item : list->items) {
    if (!item->is_map()) continue;
    auto& step = out.emplace_back();
    step.at = item->at;
    step.name = text(item->find("name"));
    step.run = text(item->find("run"));
    step.shell = text(item->find("shell"));
    step.env = text_map(item->find("env"));
    step.condition = text(item->find("if"));
    step.timeout = duration(item->find("timeout"));
  }
  return out;
}

std::vector<MatrixDef::Combination> combinations(const YamlNode* list) {
  std::vector<MatrixDef::Combination> out;
  if (!list || !list->is_list()) return out;
  for (auto* item : list->items)
    if (item->is_map()) out.push_back({item->at, text_map(item)});
  return out;
}

std::optional<MatrixDef> matrix(const YamlNode* node) {
  if (!node || !node->is_map()) return std::nullopt;
  MatrixDef out;
  out.at = node->at;
  for (auto& entry : node->entries) {
    auto& key = entry.key->text;
    if (key == "exclude") out.exclude = combinations(entry.value);
    else if (key == "include") out.include = combinations(entry.value);
    else if (key == "max_parallel") out.max_parallel = int(integer(entry.value).value_or(0));
    else if (key == "fail_fast") out.fail_fast = boolean(entry.value).value_or(true);
    else out.axes.push_back({text(entry.key), texts(entry.value)});
  }
  return out;
}

std::vector<ServiceDef> services(const YamlNode* map) {
  std::vector<ServiceDef> out;
  if (!map || !map->is_map()) return out;
  for (auto& [name, service] : map->entries)
    out.push_back({text(name), text(under(service, "image")), text(under(service, "run")), text_map(under(service, "env")), text(under(service, "ready"))});
  return out;
}

/// Templates of what is checked here and planned elsewhere later: caches, environments.
void later_templates(const YamlNode* node, std::vector<Text>& out) {
  if (!node) return;
  if (node->is_scalar() && node->text.contains("${{")) out.push_back(text(node));
  for (auto* item : node->items) later_templates(item, out);
  for (auto& entry : node->entries) later_templates(entry.value, out);
}

JobDef job(const YamlNode::Entry& entry) {
  auto* map = entry.value;
  JobDef out;
  out.name = text(entry.key);
  out.common = common(map);
  out.needs = texts(under(map, "needs"));
  out.condition = text(under(map, "if"));
  out.matrix = matrix(under(map, "matrix"));
  out.env = text_map(under(map, "env"));
  out.steps = steps(under(map, "steps"));
  if (auto* run = under(map, "run")) {
    auto& step = out.steps.emplace_back();
    step.at = run->at;
    step.run = text(run);
  }
  out.finally = steps(under(map, "finally"));
  out.secrets = texts(under(map, "secrets"));
  out.outputs = texts(under(map, "outputs"));
  auto* artifacts = under(map, "artifacts");
  out.artifact_paths = texts(under(artifacts, "paths"));
  out.artifacts_expire = duration(under(artifacts, "expire"));
  out.artifacts_when = word(whens, under(artifacts, "when")).value_or(ArtifactsWhen::success);
  out.junit = texts(under(under(map, "reports"), "junit"));
  out.allow_failure = boolean(under(map, "allow_failure")).value_or(false);
  out.priority = word(priorities, under(map, "priority"));
  out.services = services(under(map, "services"));
  for (auto* key : {"cache", "environment"}) later_templates(under(map, key), out.later_templates);
  return out;
}

FilterDef filter(const YamlNode* node) {
  return {strings(under(node, "branches")), strings(under(node, "tags")), strings(under(node, "paths"))};
}

std::vector<InputDef> inputs(const YamlNode* node) {
  std::vector<InputDef> out;
  if (!node || !node->is_map()) return out;
  for (auto& entry : node->entries) {
    auto& input = out.emplace_back();
    input.name = text(entry.key);
    if (auto* type = under(entry.value, "type")) input.type = type->text;
    input.options = strings(under(entry.value, "options"));
    if (auto* value = under(entry.value, "default")) input.default_value = text(value);
    input.required = boolean(under(entry.value, "required")).value_or(false);
  }
  return out;
}

TriggersDef triggers(const YamlNode* on) {
  TriggersDef out;
  if (!on || on->is_null()) {
    out.push = FilterDef{.branches = {"**"}, .tags = {}, .paths = {}};
    out.pull_request = FilterDef{};
    out.manual = true;
    return out;
  }
  out.written = true;
  for (auto& event : strings(on)) {
    if (event == "push") out.push = FilterDef{};
    if (event == "pull_request") out.pull_request = FilterDef{};
    if (event == "manual") out.manual = true;
  }
  if (auto* push = under(on, "push")) out.push = filter(push);
  if (auto* pull = under(on, "pull_request")) {
    out.pull_request = filter(pull);
    out.forks = word(fork_policies, under(pull, "forks")).value_or(ForkPolicy::approve);
  }
  if (auto* manual = under(on, "manual")) {
    out.manual = true;
    out.inputs_at = manual->at;
    out.inputs = inputs(under(manual, "inputs"));
  }
  return out;
}

void note(std::vector<FeatureUse>& out, Feature feature, const YamlNode* map, std::string_view key) {
  if (!map || !map->is_map()) return;
  for (auto& entry : map->entries)
    if (entry.key->text == key) out.push_back({feature, entry.key->at});
}

std::vector<FeatureUse> features(const YamlNode* root) {
  std::vector<FeatureUse> out;
  note(out, Feature::concurrency, root, "concurrency");
  auto* on = under(root, "on");
  note(out, Feature::schedule, on, "schedule");
  for (auto& event : texts(on))
    if (event.text == "schedule") out.push_back({Feature::schedule, event.at});
  auto* jobs = under(root, "jobs");
  if (!jobs || !jobs->is_map()) return out;
  for (auto& [name, job] : jobs->entries) {
    note(out, Feature::id_tokens, job, "id_tokens");
    note(out, Feature::environment, job, "environment");
    note(out, Feature::cache, job, "cache");
    note(out, Feature::inputs, job, "inputs");
    if (boolean(under(job, "interruptible")).value_or(false)) note(out, Feature::interruptible, job, "interruptible");
  }
  return out;
}

}  // namespace

Pipeline read_pipeline(const std::string& file, std::string_view source, const YamlLimits& limits, Problems& problems) {
  Pipeline out;
  out.file = file;
  out.document = read_yaml(file, source, limits, problems);
  if (!out.document.complete) return out;
  auto* root = out.document.root;
  check_shape(file, *root, pipeline_shape, problems);
  out.name = text(under(root, "name")).text;
  out.on = triggers(under(root, "on"));
  out.env = text_map(under(root, "env"));
  out.defaults = common(under(root, "defaults"));
  auto* concurrency = under(root, "concurrency");
  out.concurrency = text(concurrency && concurrency->is_map() ? concurrency->find("group") : concurrency);
  out.priority = word(priorities, under(root, "priority")).value_or(Priority::normal);
  if (auto* jobs = under(root, "jobs"); jobs && jobs->is_map())
    for (auto& entry : jobs->entries) out.jobs.push_back(job(entry));
  out.features = features(root);
  return out;
}

Mark mark_of(const Text& text, std::size_t offset) {
  if (!text.node) return text.at;
  auto& marks = text.node->expressions;
  if (marks.empty()) return text.node->verbatim ? Mark{text.at.line, text.at.column + int(offset)} : text.at;
  std::size_t index = 0, begin = 0;
  for (auto at = text.text.find("${{"); at <= offset && at != text.text.npos; at = text.text.find("${{", at + 1)) begin = at, ++index;
  if (index == 0 || index > marks.size()) return text.at;
  auto mark = marks[index - 1];
  if (std::string_view(text.text).substr(begin, offset - begin).contains('\n')) return mark;
  return {mark.line, mark.column + int(offset - begin)};
}

}  // namespace mayfly
