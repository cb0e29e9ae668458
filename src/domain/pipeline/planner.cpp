#include "domain/pipeline/planner.h"

#include <algorithm>
#include <map>

#include "domain/pipeline/expand.h"
#include "domain/pipeline/forms.h"
#include "domain/pipeline/pipeline.h"
#include "domain/pipeline/suggest.h"
#include "domain/pipeline/triggers.h"

namespace mayfly {
namespace {

std::vector<Pipeline> read_all(const std::vector<PipelineFile>& files, const PlanLimits& limits, Problems& problems) {
  std::vector<Pipeline> pipelines;
  for (auto& file : files)
    pipelines.push_back(read_pipeline(file.path, file.content, {limits.file_bytes, limits.expansion_bytes, limits.depth}, problems));
  std::size_t jobs = 0;
  for (auto& pipeline : pipelines) {
    jobs += pipeline.jobs.size();
    if (jobs > limits.jobs) {
      problems.add(pipeline.file, {}, "more than " + std::to_string(limits.jobs) + " jobs (limit: jobs)", "split the pipeline");
      return pipelines;
    }
  }
  check_rules(pipelines, problems);
  return pipelines;
}

void refuse_unsupported(const Pipeline& pipeline, const PlanOptions& options, Problems& problems) {
  for (auto& use : pipeline.features)
    if (options.unsupported.contains(use.feature))
      problems.add(pipeline.file, use.at, "this server does not run `" + std::string(to_string(use.feature)) + "` yet", std::string(instead_of(use.feature)));
}

class Planner {
 public:
  Planner(const std::vector<Pipeline>& pipelines, const TriggerEvent& event, const PlanOptions& options, Problems& problems)
      : pipelines_(pipelines), options_(options), problems_(problems), budget_(options.limits, problems) {
    result_.event = event;
  }

  PlanResult make() {
    if (!find_listeners()) return std::move(result_);
    for (auto* pipeline : listeners_) refuse_unsupported(*pipeline, options_, problems_);
    take_inputs();
    if (!problems_.empty()) return std::move(result_);
    result_.plan.emplace();
    index_jobs();
    for (auto* pipeline : listeners_) {
      if (result_.plan->name.empty()) result_.plan->name = pipeline->name;
      for (auto& job : pipeline->jobs) visit(job.name.text);
    }
    return std::move(result_);
  }

 private:
  struct Written {
    const Pipeline* pipeline;
    const JobDef* job;
    std::vector<std::string> expansions;
    bool visited = false;
  };

  bool find_listeners() {
    if (pipelines_.empty()) result_.no_build = "there is no .ci.yaml and no .ci/*.yaml at this commit";
    for (auto& pipeline : pipelines_) {
      auto answer = listens(pipeline, result_.event, options_.limits.changed_paths);
      if (answer.answer == Listening::Answer::no) {
        result_.no_build += (result_.no_build.empty() ? "" : "; ") + answer.why;
        continue;
      }
      listeners_.push_back(&pipeline);
      if (answer.answer == Listening::Answer::filtered) filtered_[&pipeline] = answer.why;
    }
    if (!listeners_.empty()) result_.no_build.clear();
    return !listeners_.empty();
  }

  // ---- inputs

  void take_inputs() {
    bool by_hand = result_.event.event == "manual";
    auto given = result_.event.inputs;
    std::vector<const InputDef*> known;
    for (auto* pipeline : listeners_)
      for (auto& input : pipeline->on.inputs) {
        known.push_back(&input);
        take_input(*pipeline, input, by_hand);
        given.erase(input.name.text);
      }
    for (auto& [name, value] : given) {
      std::vector<std::string_view> names;
      for (auto* input : known) names.push_back(input->name.text);
      auto& first = *listeners_.front();
      problems_.add(first.file, first.on.inputs_at, "the build was given an input '" + name + "', which no pipeline asks for", suggestion(name, names));
    }
  }

  void take_input(const Pipeline& pipeline, const InputDef& input, bool by_hand) {
    auto& values = result_.event.inputs;
    auto found = values.find(input.name.text);
    if (found == values.end()) {
      if (input.default_value) values[input.name.text] = input.default_value->text;
      else if (input.required && by_hand) problems_.add(pipeline.file, input.name.at, "the build needs the input '" + input.name.text + "'", "give it: --input " + input.name.text + "=VALUE");
      return;
    }
    if (auto wrong = wrong_input(input, found->second); !wrong.empty())
      problems_.add(pipeline.file, input.name.at, "the input '" + input.name.text + "' " + wrong, "give another value");
  }

  // ---- jobs, needs first

  void index_jobs() {
    for (auto& pipeline : pipelines_)
      for (auto& job : pipeline.jobs) written_[job.name.text] = {&pipeline, &job, {}, std::ranges::find(listeners_, &pipeline) == listeners_.end()};
  }

  void visit(const std::string& name) {
    std::vector<std::pair<Written*, std::size_t>> stack{{&written_.find(name)->second, 0}};
    if (stack.back().first->visited) return;
    while (!stack.empty() && !budget_.spent()) {
      auto& [written, next] = stack.back();
      if (next < written->job->needs.size()) {
        auto& need = written_.find(written->job->needs[next++].text)->second;
        if (!need.visited) stack.emplace_back(&need, 0);
        continue;
      }
      if (!std::exchange(written->visited, true)) add(*written);
      stack.pop_back();
    }
  }

  void add(Written& written) {
    auto& pipeline = *written.pipeline;
    auto [expander, is_new] = expanders_.try_emplace(&pipeline, pipeline, result_.event, options_, problems_, budget_);
    for (auto& job : expander->second.expand(*written.job)) {
      if (!names_.insert(job.name).second) {
        problems_.add(pipeline.file, written.job->name.at, "two jobs would be named '" + job.name + "'", "remove one of the equal combinations of its matrix");
        continue;
      }
      add_needs(job, written);
      if (auto reason = filtered_.find(&pipeline); reason != filtered_.end()) {
        job.skipped = true;
        job.skip_reason = reason->second;
      }
      written.expansions.push_back(job.name);
      result_.plan->jobs.push_back(std::move(job));
    }
  }

  /// A need on a job with a matrix is one on all of its expansions. One in a file that does not listen is not there.
  void add_needs(JobSpec& job, const Written& written) {
    std::size_t bytes = 0;
    for (auto& need : written.job->needs) {
      auto& needed = written_.find(need.text)->second;
      if (needed.expansions.empty() && !job.skipped) {
        job.skipped = true;
        job.skip_reason = "it needs '" + need.text + "' of " + needed.pipeline->file + ", which has no part in this build";
      }
      for (auto& name : needed.expansions) {
        bytes += name.size() + 64;
        job.needs.push_back(name);
      }
      if (!budget_.text(std::exchange(bytes, 0), written.pipeline->file, need.at)) return;
    }
  }

  const std::vector<Pipeline>& pipelines_;
  const PlanOptions& options_;
  Problems& problems_;
  Budget budget_;
  PlanResult result_;
  std::vector<const Pipeline*> listeners_;
  std::map<const Pipeline*, std::string> filtered_;  // why their jobs are skipped
  std::map<std::string, Written> written_;
  std::map<const Pipeline*, Expander> expanders_;
  std::set<std::string> names_;
};

void collect_globs(const Text& text, bool is_condition, std::set<std::string>& globs) {
  auto collect = [&](const Expression& expression) {
    for (auto& term : expression.terms())
      if (term.op == Expression::Op::call && term.path[0] == "hash_files")
        for (auto operand : term.operands) globs.insert(std::get<std::string>(expression.terms()[operand].literal));
  };
  if (is_condition) {
    if (auto expression = parse_condition(text.text)) collect(*expression);
  } else if (auto source = Template::parse(text.text)) {
    for (auto& part : source->parts())
      if (part.expression) collect(*part.expression);
  }
}

void collect_globs(const YamlNode& node, std::set<std::string>& globs) {
  if (node.is_scalar() && node.text.contains("hash_files")) collect_globs({node.text, node.at, &node}, !node.text.contains("${{"), globs);
  for (auto* item : node.items) collect_globs(*item, globs);
  for (auto& entry : node.entries) collect_globs(*entry.value, globs);
}

}  // namespace

std::expected<PlanResult, std::vector<Diagnostic>> plan(const std::vector<PipelineFile>& files, const TriggerEvent& event, const PlanOptions& options) {
  Problems problems(options.limits.diagnostics);
  auto pipelines = read_all(files, options.limits, problems);
  if (!problems.empty()) return std::unexpected(problems.take());
  auto result = Planner(pipelines, event, options, problems).make();
  if (!problems.empty()) return std::unexpected(problems.take());
  return result;
}

std::vector<Diagnostic> lint(const std::vector<PipelineFile>& files, const PlanOptions& options) {
  Problems problems(options.limits.diagnostics);
  for (auto& pipeline : read_all(files, options.limits, problems)) refuse_unsupported(pipeline, options, problems);
  return problems.take();
}

std::vector<std::string> hash_globs(const std::vector<PipelineFile>& files, const PlanOptions& options) {
  std::set<std::string> globs;
  Problems ignored(0);
  for (auto& file : files) {
    auto document = read_yaml(file.path, file.content, {options.limits.file_bytes, options.limits.expansion_bytes, options.limits.depth}, ignored);
    if (document.complete) collect_globs(*document.root, globs);
  }
  return {globs.begin(), globs.end()};
}

}  // namespace mayfly
