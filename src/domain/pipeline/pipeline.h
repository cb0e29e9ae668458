#pragma once
// A `.ci.yaml` as its author meant it: decoded, with the place of everything that can still turn out wrong, and not yet
// tied to any event. Between files (yaml.h, shape.h) and plans (planner.h).

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "domain/pipeline/feature.h"
#include "domain/pipeline/plan.h"
#include "domain/pipeline/problems.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {

/// Text of the file and where it stands. `node` knows where in it expressions begin.
struct Text {
  std::string text;
  Mark at;
  const YamlNode* node = nullptr;

  bool empty() const { return text.empty(); }
};

using TextMap = std::vector<std::pair<Text, Text>>;  // in the order of the file

struct StepDef {
  Mark at;
  Text name;
  Text run;
  Text shell;
  TextMap env;
  Text condition;
  std::optional<Duration> timeout;
};

struct ServiceDef {
  Text name;
  Text image;
  Text run;
  TextMap env;
  Text ready;
};

struct MatrixDef {
  struct Axis {
    Text name;
    std::vector<Text> values;
  };
  struct Combination {
    Mark at;
    TextMap values;
  };

  Mark at;
  std::vector<Axis> axes;
  std::vector<Combination> exclude;
  std::vector<Combination> include;
  int max_parallel = 0;
  bool fail_fast = true;
};

struct ResourcesDef {
  std::optional<std::int64_t> cpu_milli;
  std::optional<std::int64_t> memory_bytes;
  std::optional<std::int64_t> disk_bytes;
};

/// What jobs and `defaults` have in common.
struct CommonDef {
  Text image;
  std::optional<Isolation> isolation;
  Text shell;
  std::optional<bool> network;
  ResourcesDef resources;
  std::optional<Duration> timeout;
  std::optional<RetrySpec> retry;
  std::optional<CheckoutSpec> checkout;
  std::optional<std::vector<Text>> runs_on;
};

/// A use of something this language has and a server may not.
struct FeatureUse {
  Feature feature;
  Mark at;
};

struct JobDef {
  Text name;
  CommonDef common;
  std::vector<Text> needs;
  Text condition;
  std::optional<MatrixDef> matrix;
  TextMap env;
  std::vector<StepDef> steps;
  std::vector<StepDef> finally;
  std::vector<ServiceDef> services;
  std::vector<Text> secrets;
  std::vector<Text> outputs;
  std::vector<Text> artifact_paths;
  std::optional<Duration> artifacts_expire;
  ArtifactsWhen artifacts_when = ArtifactsWhen::success;
  std::vector<Text> junit;
  bool allow_failure = false;
  std::optional<Priority> priority;
  std::vector<Text> later_templates;   // of cache, environment: checked, not yet planned
};

struct FilterDef {
  std::vector<std::string> branches;
  std::vector<std::string> tags;
  std::vector<std::string> paths;
};

enum class ForkPolicy { approve, never, trusted };

struct InputDef {
  Text name;
  std::string type = "string";
  std::vector<std::string> options;
  std::optional<Text> default_value;
  bool required = false;
};

struct TriggersDef {
  bool written = false;   // false: there is no `on`, this is what it means
  std::optional<FilterDef> push;
  std::optional<FilterDef> pull_request;
  ForkPolicy forks = ForkPolicy::approve;
  bool manual = false;
  Mark inputs_at;
  std::vector<InputDef> inputs;
};

/// Moved, never copied: its texts point into its document.
struct Pipeline {
  Pipeline() = default;
  Pipeline(Pipeline&&) = default;
  Pipeline& operator=(Pipeline&&) = default;

  std::string file;
  Document document;
  std::string name;
  TriggersDef on;
  TextMap env;
  CommonDef defaults;
  Text concurrency;    // its group
  Priority priority = Priority::normal;
  std::vector<JobDef> jobs;
  std::vector<FeatureUse> features;
};

/// Reads a file: YAML, shape, then the values. What is wrong goes to `problems`; the rest is still there to be checked.
Pipeline read_pipeline(const std::string& file, std::string_view text, const YamlLimits&, Problems&);

/// What a shape cannot say: names that exist, cycles, expressions, inputs. Over all files of a commit at once.
void check_rules(const std::vector<Pipeline>&, Problems&);

/// What is wrong with a value of an input ("must be a number, not 'x'"); "" if nothing is.
std::string wrong_input(const InputDef&, std::string_view value);

/// Where the byte `offset` of a text stands in its file, as near as the file's quoting and folding lets one say.
Mark mark_of(const Text&, std::size_t offset);

}  // namespace mayfly
