#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <unordered_map>

#include "domain/pipeline/expression.h"
#include "domain/pipeline/pipeline.h"
#include "domain/pipeline/forms.h"
#include "domain/pipeline/suggest.h"

namespace mayfly {
namespace {

using Op = Expression::Op;

constexpr std::array<std::string_view, 15> our_variables{"CI_BUILD_ID",      "CI_JOB_ID",     "CI_JOB_NAME",     "CI_ATTEMPT",  "CI_COMMIT_SHA",
                                                         "CI_COMMIT_REF",    "CI_COMMIT_BRANCH", "CI_COMMIT_TAG", "CI_PULL_REQUEST", "CI_REPO_URL",
                                                         "CI_PROJECT",       "CI_API_URL",    "CI_WORKSPACE",    "CI_OUTPUT",
                                                         "CI_ENV"};
constexpr std::string_view event_words[] = {"push", "pull_request", "schedule", "manual"};
constexpr std::string_view status_words[] = {"succeeded", "failed", "canceled", "skipped", "cached"};

bool is_ours(std::string_view name) { return std::ranges::find(our_variables, name) != our_variables.end(); }

std::string quoted(std::string_view text) { return "'" + std::string(text.substr(0, 64)) + "'"; }

/// Variables in scope: those of this env and of the ones around it.
struct Variables {
  const Variables* outer = nullptr;
  std::set<std::string_view> own = {};

  bool contains(std::string_view name) const { return own.contains(name) || (outer && outer->contains(name)); }
  std::vector<std::string_view> all() const {
    auto names = outer ? outer->all() : std::vector<std::string_view>();
    names.insert(names.end(), own.begin(), own.end());
    return names;
  }
};

struct JobNames {
  const JobDef* job;
  std::set<std::string_view> needs = {};
  std::set<std::string_view> axes = {};
};

/// What expressions at one place may name.
struct Scope {
  const JobNames* job = nullptr;         // nullptr: no matrix, no needs
  bool needs = false;
  bool standing = false;
  const Variables* env = nullptr;        // nullptr: any name
  bool env_beside_needs = true;
};

class Rules {
 public:
  Rules(const std::vector<Pipeline>& pipelines, Problems& problems) : pipelines_(pipelines), problems_(problems) {}

  void check() {
    collect_jobs();
    for (auto& pipeline : pipelines_) {
      pipeline_ = &pipeline;
      check_pipeline();
    }
    check_cycles();
  }

 private:
  struct Place {
    const Pipeline* pipeline;
    const JobDef* job;
  };

  void problem(Mark at, std::string message, std::string hint = {}) { problems_.add(pipeline_->file, at, std::move(message), std::move(hint)); }

  void collect_jobs() {
    for (auto& pipeline : pipelines_) {
      pipeline_ = &pipeline;
      for (auto& job : pipeline.jobs) {
        auto [first, is_new] = jobs_.emplace(job.name.text, Place{&pipeline, &job});
        if (is_new) job_names_.push_back(job.name.text);
        else if (first->second.pipeline != &pipeline)
          problem(job.name.at, "a job " + quoted(job.name.text) + " is in " + first->second.pipeline->file + ":" + std::to_string(first->second.job->name.at.line) + " too",
                  "rename one of them");
      }
    }
  }

  void check_pipeline() {
    static const Variables no_env;
    Variables top_env;
    for (auto& [name, value] : pipeline_->env) top_env.own.insert(name.text);
    inputs_.clear();
    for (auto& input : pipeline_->on.inputs) inputs_.insert(input.name.text);
    check_inputs();
    check_env(pipeline_->env, {.env = &no_env});
    check_template(pipeline_->concurrency, {.env = &top_env});
    check_common(pipeline_->defaults, {.env = &top_env});
    for (auto& job : pipeline_->jobs) check_job(job, top_env);
  }

  static JobNames names_of(const JobDef& job) {
    JobNames names{.job = &job};
    for (auto& need : job.needs) names.needs.insert(need.text);
    if (!job.matrix) return names;
    for (auto& axis : job.matrix->axes) names.axes.insert(axis.name.text);
    for (auto& combination : job.matrix->include)
      for (auto& [key, value] : combination.values) names.axes.insert(key.text);
    return names;
  }

  void check_job(const JobDef& job, const Variables& top_env) {
    auto names = names_of(job);
    Variables env{.outer = &top_env};
    for (auto& [name, value] : job.env) env.own.insert(name.text);
    Scope fixed{.job = &names, .env = &env};
    check_needs(job);
    check_matrix(job, top_env);
    check_condition(job.condition, {.job = &names, .needs = true, .standing = true, .env = &env});
    check_env(job.env, {.job = &names, .needs = true, .env = &top_env, .env_beside_needs = false});
    check_common(job.common, fixed);
    for (auto* list : {&job.outputs, &job.artifact_paths, &job.junit, &job.later_templates})
      for (auto& text : *list) check_template(text, fixed);
    for (auto& secret : job.secrets)
      if (is_ours(secret.text)) problem(secret.at, quoted(secret.text) + " is set by Mayfly", "choose another name");
      else if (env.contains(secret.text)) problem(secret.at, quoted(secret.text) + " is a secret and a variable of env", "rename the variable");
    for (auto& service : job.services) check_service(names, service, env);
    for (auto* list : {&job.steps, &job.finally})
      for (auto& step : *list) check_step(names, step, env);
  }

  void check_common(const CommonDef& common, const Scope& scope) {
    check_template(common.image, scope);
    if (common.runs_on)
      for (auto& label : *common.runs_on) check_template(label, scope);
  }

  void check_service(const JobNames& job, const ServiceDef& service, const Variables& job_env) {
    if (service.name.text == "localhost" || service.name.text == "mayfly")
      problem(service.name.at, quoted(service.name.text) + " is a name of the job itself", "name the service after what it is");
    check_template(service.image, {.job = &job, .env = &job_env});
    check_env(service.env, {.job = &job, .needs = true, .env = &job_env});
  }

  void check_step(const JobNames& job, const StepDef& step, const Variables& job_env) {
    check_template(step.name, {.job = &job, .env = &job_env});
    check_env(step.env, {.job = &job, .needs = true, .env = &job_env});
    check_condition(step.condition, {.job = &job, .needs = true, .standing = true});
    Variables env{.outer = &job_env};
    for (auto& [name, value] : step.env) env.own.insert(name.text);
    check_script(step.run, job, env);
  }

  /// In a script `${{ env.NAME }}` alone is whatever the variable holds when it runs; in a longer expression its value
  /// must be known before.
  void check_script(const Text& run, const JobNames& job, const Variables& env) {
    if (!run.text.contains("${{")) return;
    auto parsed = parse(run);
    for (auto& part : parsed.parts()) {
      if (!part.expression) continue;
      auto& root = part.expression->root();
      bool alone = root.op == Op::name && root.path[0] == "env";
      check_names(run, *part.expression, part.offset, {.job = &job, .needs = true, .env = alone ? nullptr : &env});
    }
  }

  void check_env(const TextMap& env, const Scope& scope) {
    for (auto& [name, value] : env) {
      if (is_ours(name.text)) problem(name.at, quoted(name.text) + " is set by Mayfly", "choose another name");
      check_template(value, scope);
    }
  }

  void check_needs(const JobDef& job) {
    std::set<std::string_view> seen;
    for (auto& need : job.needs) {
      if (!seen.insert(need.text).second) problem(need.at, quoted(need.text) + " is needed twice", "name it once");
      else if (!jobs_.contains(need.text))
        problem(need.at, quoted(job.name.text) + " needs an unknown job " + quoted(need.text), problems_.full() ? "" : suggestion(need.text, job_names_));
    }
  }

  // ---- matrix and inputs

  void check_matrix(const JobDef& job, const Variables& top_env) {
    if (!job.matrix) return;
    auto& matrix = *job.matrix;
    if (matrix.axes.empty() && matrix.include.empty()) problem(matrix.at, "the matrix has no values", "write an axis, such as version: [1, 2]");
    std::vector<std::string_view> axes;
    for (auto& axis : matrix.axes) {
      axes.push_back(axis.name.text);
      for (auto& value : axis.values) check_template(value, {.env = &top_env});
    }
    for (auto& combination : matrix.exclude) {
      if (combination.values.empty()) problem(combination.at, "an empty exclude leaves everything out", "name values of axes");
      for (auto& [name, value] : combination.values) {
        if (std::ranges::find(axes, name.text) == axes.end())
          problem(name.at, "the matrix has no axis " + quoted(name.text), problems_.full() ? "" : suggestion(name.text, axes));
        check_template(value, {.env = &top_env});
      }
    }
    for (auto& combination : matrix.include) {
      if (combination.values.empty()) problem(combination.at, "an empty include adds nothing", "remove it");
      for (auto& [name, value] : combination.values) check_template(value, {.env = &top_env});
    }
  }

  void check_inputs() {
    for (auto& input : pipeline_->on.inputs) {
      bool choice = input.type == "choice";
      if (choice && input.options.empty()) problem(input.name.at, "the choice " + quoted(input.name.text) + " has no options", "write options: [one, other]");
      if (!choice && !input.options.empty()) problem(input.name.at, "options of " + quoted(input.name.text) + ", which is no choice", "write type: choice");
      if (!input.default_value) continue;
      if (auto wrong = wrong_input(input, input.default_value->text); !wrong.empty()) problem(input.default_value->at, "the default of " + quoted(input.name.text) + " " + wrong);
    }
  }

  // ---- expressions

  /// Where in a text, unless nobody will be told: finding it takes a walk over the text.
  Mark place(const Text& text, std::size_t offset) const { return problems_.full() ? text.at : mark_of(text, offset); }

  void report(const Text& text, const ExpressionError& error) { problem(place(text, error.offset), error.message, error.hint); }

  Template parse(const Text& text) {
    std::vector<ExpressionError> errors;
    auto parsed = Template::parse_all(text.text, errors);
    for (auto& error : errors) report(text, error);
    return parsed;
  }

  void check_template(const Text& text, const Scope& scope) {
    if (!text.text.contains("${{")) return;
    auto parsed = parse(text);
    for (auto& part : parsed.parts())
      if (part.expression) check_names(text, *part.expression, part.offset, scope);
  }

  void check_condition(const Text& text, const Scope& scope) {
    if (text.empty()) return;
    auto parsed = parse_condition(text.text);
    if (!parsed) return report(text, parsed.error());
    check_names(text, *parsed, std::size_t(condition_body(text.text).data() - text.text.data()), scope);
  }

  void check_names(const Text& text, const Expression& expression, std::size_t offset, const Scope& scope) {
    bool env = false, needs = false;
    for (auto& term : expression.terms()) {
      auto at = [&] { return place(text, offset + term.offset); };
      if (term.op == Op::name) {
        check_name(term.path, at, scope);
        env |= term.path[0] == "env";
        needs |= term.path[0] == "needs";
      }
      if (term.op == Op::call && !scope.standing && (term.path[0] == "success" || term.path[0] == "failure" || term.path[0] == "always"))
        problem(at(), term.path[0] + "() is known only in `if`");
      if (term.op == Op::equal || term.op == Op::unequal) check_comparison(expression, term, at);
    }
    if (env && needs && !scope.env_beside_needs)
      problem(place(text, offset), "env and needs in one expression of a job's env", "move this variable to the env of a step");
  }

  template <class At>
  void check_name(const std::vector<std::string>& path, At at, const Scope& scope) {
    auto& first = path[0];
    if (first == "inputs") return check_known("input", path[1], inputs_, at);
    if (first == "env") return check_variable(path[1], at, scope);
    if (first == "matrix") return check_axis(path[1], at, scope);
    if (first == "needs") check_need(path[1], at, scope);
  }

  template <class At>
  void check_known(std::string_view noun, std::string_view name, const std::set<std::string_view>& known, At at) {
    if (known.contains(name)) return;
    std::vector<std::string_view> words(known.begin(), known.end());
    problem(at(), "there is no " + std::string(noun) + " " + quoted(name), problems_.full() ? "" : words.empty() ? "add it first" : suggestion(name, words));
  }

  template <class At>
  void check_variable(const std::string& name, At at, const Scope& scope) {
    if (!is_environment_name(name)) return problem(at(), quoted("env." + name) + " is no variable", "write letters, digits and '_'");
    if (!scope.env || scope.env->contains(name)) return;
    problem(at(), quoted("env." + name) + " is not set where this is evaluated", variable_hint(name, *scope.env));
  }

  static std::string variable_hint(std::string_view name, const Variables& env) {
    if (name.starts_with("CI_")) return "use ref, branch, tag, sha or event; in `run` every variable of the job is there";
    auto known = env.all();
    return known.empty() ? "set it in an outer env" : suggestion(name, known);
  }

  template <class At>
  void check_axis(std::string_view name, At at, const Scope& scope) {
    if (!scope.job) return problem(at(), "matrix is not known here", "use it within a job that has one");
    if (!scope.job->job->matrix) return problem(at(), "the job " + quoted(scope.job->job->name.text) + " has no matrix", "give it one, or write the value");
    check_known("axis", name, scope.job->axes, at);
  }

  template <class At>
  void check_need(std::string_view name, At at, const Scope& scope) {
    if (!scope.job || !scope.needs) return problem(at(), "needs is not known here: it is when the job starts", "use it in `if`, env or run");
    if (scope.job->needs.contains(name)) return;
    bool exists = jobs_.contains(name);
    problem(at(), quoted(scope.job->job->name.text) + " does not need " + quoted(name),
            exists ? "add it to needs: [" + std::string(name) + "]" : problems_.full() ? "" : suggestion(name, job_names_));
  }

  /// A comparison with a word the value never has.
  template <class At>
  void check_comparison(const Expression& expression, const Expression::Term& term, At at) {
    auto* left = &expression.terms()[term.operands[0]];
    auto* right = &expression.terms()[term.operands[1]];
    if (left->op == Op::literal) std::swap(left, right);
    auto* word = std::get_if<std::string>(&right->literal);
    if (left->op != Op::name || right->op != Op::literal || !word) return;
    std::span<const std::string_view> words;
    if (left->path[0] == "event") words = event_words;
    if (left->path.size() == 3 && left->path[2] == "status") words = status_words;
    if (words.empty() || std::ranges::find(words, *word) != words.end()) return;
    auto near = nearest(*word, words);
    problem(at(), quoted(*word) + " is never the " + (words.data() == event_words ? "event" : "status of a job"),
            near.empty() ? "write " + one_of(words) : "did you mean '" + std::string(near) + "'?");
  }

  // ---- cycles

  void check_cycles() {
    std::map<std::string_view, std::size_t> waiting_for;  // how many needs are not known to be free of cycles
    std::map<std::string_view, std::vector<std::string_view>> needed_by;
    std::vector<std::string_view> free;
    for (auto& [name, place] : jobs_) {
      std::size_t count = 0;
      for (auto& need : place.job->needs)
        if (jobs_.contains(need.text)) ++count, needed_by[need.text].push_back(name);
      waiting_for[name] = count;
      if (count == 0) free.push_back(name);
    }
    while (!free.empty()) {
      auto name = free.back();
      free.pop_back();
      for (auto dependent : needed_by[name])
        if (--waiting_for[dependent] == 0) free.push_back(dependent);
    }
    std::set<std::string_view> told;
    for (auto name : job_names_)
      if (waiting_for[name] > 0) tell_cycle(name, waiting_for, told);
  }

  /// Follows needs from a job that waits for a cycle until one is closed.
  void tell_cycle(std::string_view name, const std::map<std::string_view, std::size_t>& waiting_for, std::set<std::string_view>& told) {
    std::vector<std::string_view> path;
    std::set<std::string_view> on_path;
    for (;;) {
      if (!told.insert(name).second && !on_path.contains(name)) return;
      if (!on_path.insert(name).second) break;
      path.push_back(name);
      for (auto& need : jobs_.find(name)->second.job->needs)
        if (auto found = waiting_for.find(need.text); found != waiting_for.end() && found->second > 0) {
          name = found->first;
          break;
        }
    }
    path.erase(path.begin(), std::ranges::find(path, name));
    auto& place = jobs_.find(path.front())->second;
    pipeline_ = place.pipeline;
    problem(place.job->name.at, "jobs need each other: " + cycle_text(path), "remove one of these needs");
  }

  static std::string cycle_text(const std::vector<std::string_view>& path) {
    constexpr std::size_t shown = 20;
    std::string text;
    for (std::size_t i = 0; i < path.size() && i < shown; ++i) text += std::string(path[i]) + " -> ";
    if (path.size() > shown) text += "… -> ";
    return text + std::string(path.front());
  }

  const std::vector<Pipeline>& pipelines_;
  Problems& problems_;
  const Pipeline* pipeline_ = nullptr;
  std::map<std::string, Place, std::less<>> jobs_;
  std::vector<std::string_view> job_names_;
  std::set<std::string_view> inputs_;  // of the pipeline at hand
};

}  // namespace

void check_rules(const std::vector<Pipeline>& pipelines, Problems& problems) { Rules(pipelines, problems).check(); }

}  // namespace mayfly
