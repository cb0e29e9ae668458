#pragma once
// From a job as written to the jobs of a build: one for every combination of its matrix, defaults merged, and every
// expression replaced whose values are known before anything ran.

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "domain/pipeline/expression.h"
#include "domain/pipeline/matrix.h"
#include "domain/pipeline/pipeline.h"
#include "domain/pipeline/planner.h"
#include "domain/pipeline/script.h"

namespace mayfly {

/// What a whole plan may still cost. Passing a limit is told once, where it happened.
class Budget final {
 public:
  Budget(const PlanLimits& limits, Problems& problems) : limits_(limits), problems_(problems) {}

  bool spent() const { return spent_; }
  /// False once it is used up.
  bool jobs(std::size_t count, const std::string& file, Mark at);
  bool text(std::size_t bytes, const std::string& file, Mark at);
  bool expressions(std::size_t count, const std::string& file, Mark at);

 private:
  bool charge(std::size_t& used, std::size_t amount, std::size_t limit, std::string_view name, std::string_view of, const std::string& file, Mark at);

  const PlanLimits& limits_;
  Problems& problems_;
  std::size_t jobs_ = 0;
  std::size_t text_ = 0;
  std::size_t expressions_ = 0;
  bool spent_ = false;
};

/// Expands the jobs of one file. References outlive it.
class Expander final {
 public:
  Expander(const Pipeline& pipeline, const TriggerEvent& event, const PlanOptions& options, Problems& problems, Budget& budget);

  /// The job's expansions, without their needs (their names are not known here).
  std::vector<JobSpec> expand(const JobDef& job);

 private:
  struct Axes {
    MatrixAxes axes;
    std::set<std::string> outside;  // axes with values that come from outside the file
  };

  void problem(Mark at, std::string message, std::string hint = {});
  const Template& parsed(const Text& text);
  Interpolation known(const Text& text);
  std::string value(const Text& text);
  std::vector<std::string> values(const std::vector<Text>& texts);
  std::vector<std::string> paths(const std::vector<Text>& texts);
  std::string matrix_value(const Text& text);
  Combination combination(const TextMap& values, std::set<std::string>& outside);
  Axes axes(const MatrixDef& matrix);
  std::vector<Combination> combinations(const JobDef& job, std::set<std::string>& outside);
  JobSpec make(const JobDef& job, const Combination& combination, const std::set<std::string>& outside);
  void common(JobSpec& spec, const JobDef& job);
  std::string image(const Text& text);
  ServiceSpec service(const ServiceDef& written);
  void labels(JobSpec& spec, const CommonDef& common);
  void kept(JobSpec& spec, const JobDef& job);
  Env env(const Env& outer, const TextMap& own);
  void condition(JobSpec& spec, const JobDef& job);
  StepSpec step(const JobDef& job, const StepDef& step, const Env& job_env, const std::set<std::string>& outside, bool finally);
  void script(StepSpec& out, const StepDef& written, const ScriptOptions& options);
  std::string step_name(const StepDef& step);
  static std::string finally_condition(const std::string& condition);

  const Pipeline& pipeline_;
  const PlanOptions& options_;
  Problems& problems_;
  Budget& budget_;
  ExpressionContext context_;
  Env top_known_;
  Env top_env_;
  std::unordered_map<const YamlNode*, Template> templates_;
};

}  // namespace mayfly
