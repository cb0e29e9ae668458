#include "domain/pipeline/expand.h"

#include <algorithm>

#include "domain/pipeline/forms.h"

namespace mayfly {
namespace {

constexpr std::size_t bytes_a_string = 64;  // what keeping one costs besides its text
constexpr std::size_t bytes_a_step = 512;
constexpr std::size_t bytes_a_job = 1024;
constexpr std::size_t longest_step_name = 80;

/// At most this long, cut between characters.
std::string shortened(std::string text) {
  if (text.size() <= longest_step_name) return text;
  auto end = longest_step_name;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string_view first_line(std::string_view script) {
  auto begin = script.find_first_not_of(" \t\r\n");
  if (begin == script.npos) return {};
  auto line = script.substr(begin, script.find('\n', begin) - begin);
  return line.substr(0, line.find_last_not_of(" \t\r") + 1);
}

std::set<std::string> names_of(const Env& one, const Env& other) {
  std::set<std::string> names;
  for (auto* env : {&one, &other})
    for (auto& [name, value] : *env) names.insert(name);
  return names;
}

template <class T>
T first_of(const std::optional<T>& own, const std::optional<T>& common, T otherwise) {
  return own ? *own : common ? *common : otherwise;
}

}  // namespace

bool Budget::jobs(std::size_t count, const std::string& file, Mark at) {
  return charge(jobs_, count, limits_.jobs, "jobs", "jobs", file, at);
}
bool Budget::text(std::size_t bytes, const std::string& file, Mark at) {
  return charge(text_, bytes, limits_.plan_bytes, "plan", "bytes", file, at);
}
bool Budget::expressions(std::size_t count, const std::string& file, Mark at) {
  return charge(expressions_, count, limits_.expressions, "expressions", "expressions", file, at);
}

bool Budget::charge(std::size_t& used, std::size_t amount, std::size_t limit, std::string_view name, std::string_view of, const std::string& file, Mark at) {
  if (spent_) return false;
  used += amount;
  if (used <= limit) return true;
  spent_ = true;
  problems_.add(file, at, "this build is larger than " + std::to_string(limit) + " " + std::string(of) + " (limit: " + std::string(name) + ")",
                "split the pipeline");
  return false;
}

Expander::Expander(const Pipeline& pipeline, const TriggerEvent& event, const PlanOptions& options, Problems& problems, Budget& budget)
    : pipeline_(pipeline), options_(options), problems_(problems), budget_(budget), context_{.event = event, .standing = std::nullopt} {
  top_env_ = env({}, pipeline.env);
  top_known_ = context_.env;
}

std::vector<JobSpec> Expander::expand(const JobDef& job) {
  std::vector<JobSpec> out;
  std::set<std::string> outside;
  context_.env = top_known_;
  context_.later_env.clear();
  context_.matrix.clear();
  for (auto& combination : combinations(job, outside)) {
    if (budget_.spent()) break;
    out.push_back(make(job, combination, outside));
  }
  return out;
}

void Expander::problem(Mark at, std::string message, std::string hint) { problems_.add(pipeline_.file, at, std::move(message), std::move(hint)); }

// ---- texts

const Template& Expander::parsed(const Text& text) {
  auto [found, is_new] = templates_.try_emplace(text.node);
  if (is_new) {
    auto source = Template::parse(text.text);
    if (source) found->second = *std::move(source);
  }
  return found->second;
}

Interpolation Expander::known(const Text& text) {
  if (!budget_.text(text.text.size() + bytes_a_string, pipeline_.file, text.at)) return {};
  if (!text.text.contains("${{")) return {text.text, true};
  auto& source = parsed(text);
  if (!budget_.expressions(source.expressions(), pipeline_.file, text.at)) return {};
  auto out = interpolate_known(source, context_);
  if (!out) {
    problem(mark_of(text, text.text.find("${{")), out.error().message, out.error().hint);
    return {};
  }
  if (!budget_.text(out->text.size(), pipeline_.file, text.at)) return {};
  return *std::move(out);
}

std::string Expander::value(const Text& text) { return known(text).text; }

std::vector<std::string> Expander::values(const std::vector<Text>& texts) {
  std::vector<std::string> out;
  for (auto& text : texts) out.push_back(value(text));
  return out;
}

std::vector<std::string> Expander::paths(const std::vector<Text>& texts) {
  auto out = values(texts);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!is_relative_path(out[i]) && !budget_.spent()) problem(texts[i].at, "'" + out[i] + "' is no path within the workspace", "write a relative path without '..'");
  return out;
}

/// The env of one level over the outer ones: as templates, since later levels may hold needs.*. What is known of it is
/// left in the context.
Env Expander::env(const Env& outer, const TextMap& own) {
  auto all = outer;
  std::size_t inherited = 0;
  for (auto& [name, value] : outer) inherited += name.size() + value.size() + bytes_a_string;
  if (!outer.empty()) budget_.text(inherited, pipeline_.file, own.empty() ? Mark{} : own.front().first.at);
  auto known_env = context_.env;
  auto later = context_.later_env;
  for (auto& [name, text] : own) {
    auto value = known(text);
    if (value.text.size() > max_env_value_bytes)
      problem(text.at, "'" + name.text + "' has " + std::to_string(value.text.size()) + " bytes, more than " + std::to_string(max_env_value_bytes), "write a file instead");
    if (value.complete) {
      all[name.text] = as_template(value.text);
      known_env[name.text] = value.text;
      later.erase(name.text);
    } else {
      all[name.text] = value.text;
      known_env.erase(name.text);
      later.insert(name.text);
    }
  }
  context_.env = std::move(known_env);
  context_.later_env = std::move(later);
  return all;
}

// ---- matrix

std::string Expander::matrix_value(const Text& text) {
  auto out = value(text);
  bool printable = std::ranges::none_of(out, [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (out.size() > max_matrix_value_bytes || !printable)
    problem(text.at, "a value of a matrix is one line of at most " + std::to_string(max_matrix_value_bytes) + " bytes", "name what it stands for");
  return out;
}

Combination Expander::combination(const TextMap& values, std::set<std::string>& outside) {
  Combination out;
  for (auto& [name, text] : values) {
    if (text.text.contains("${{")) outside.insert(name.text);
    out.emplace_back(name.text, matrix_value(text));
  }
  return out;
}

Expander::Axes Expander::axes(const MatrixDef& matrix) {
  Axes out;
  for (auto& axis : matrix.axes) {
    auto& written = out.axes.axes.emplace_back(axis.name.text, std::vector<std::string>());
    for (auto& value : axis.values) written.second.push_back(matrix_value(value));
    if (std::ranges::any_of(axis.values, [](const Text& t) { return t.text.contains("${{"); })) out.outside.insert(axis.name.text);
  }
  for (auto& extra : matrix.include) out.axes.include.push_back(combination(extra.values, out.outside));
  std::set<std::string> ignored;
  for (auto& left_out : matrix.exclude) out.axes.exclude.push_back(combination(left_out.values, ignored));
  return out;
}

std::vector<Combination> Expander::combinations(const JobDef& job, std::set<std::string>& outside) {
  if (!job.matrix) {
    budget_.jobs(1, pipeline_.file, job.name.at);
    return {{}};
  }
  auto matrix = axes(*job.matrix);
  outside = std::move(matrix.outside);
  auto limit = options_.limits.matrix;
  auto too_many = [&](std::size_t count) {
    problem(job.matrix->at, "the matrix of '" + job.name.text + "' has " + (count > limit ? "more than " + std::to_string(limit) : std::to_string(count)) + " combinations (limit: matrix, " + std::to_string(limit) + ")",
            "split the job");
    return std::vector<Combination>();
  };
  auto raw = combinations_of_axes(matrix.axes, limit);
  if (raw > limit) return too_many(raw);
  if (!budget_.jobs(raw, pipeline_.file, job.name.at)) return {};
  auto all = expand_matrix(matrix.axes);
  if (all.size() > limit) return too_many(all.size());
  if (all.size() > raw && !budget_.jobs(all.size() - raw, pipeline_.file, job.name.at)) return {};
  if (all.empty()) problem(job.matrix->at, "every combination of the matrix of '" + job.name.text + "' is excluded", "exclude fewer");
  return all;
}

// ---- jobs

JobSpec Expander::make(const JobDef& job, const Combination& combination, const std::set<std::string>& outside) {
  JobSpec spec;
  budget_.text(bytes_a_job, pipeline_.file, job.name.at);
  spec.base_name = job.name.text;
  spec.name = job.matrix ? matrix_job_name(job.name.text, combination) : job.name.text;
  spec.matrix = {combination.begin(), combination.end()};
  context_.matrix = spec.matrix;
  context_.env = top_known_;
  context_.later_env.clear();
  spec.env = env(top_env_, job.env);
  condition(spec, job);
  common(spec, job);
  kept(spec, job);
  if (job.matrix) {
    spec.max_parallel = job.matrix->max_parallel;
    spec.fail_fast = job.matrix->fail_fast;
  }
  spec.allow_failure = job.allow_failure;
  spec.priority = job.priority.value_or(pipeline_.priority);
  for (auto& secret : job.secrets) spec.secrets.push_back(secret.text);
  for (auto& written : job.services) spec.services.push_back(service(written));
  for (auto& written : job.steps) spec.steps.push_back(step(job, written, spec.env, outside, false));
  for (auto& written : job.finally) spec.steps.push_back(step(job, written, spec.env, outside, true));
  return spec;
}

void Expander::common(JobSpec& spec, const JobDef& job) {
  auto& own = job.common;
  auto& defaults = pipeline_.defaults;
  auto& written_image = own.image.empty() ? defaults.image : own.image;
  if (!written_image.empty()) spec.image = image(written_image);
  labels(spec, own.runs_on ? own : defaults);
  spec.isolation = own.isolation ? own.isolation : defaults.isolation;
  spec.network = first_of(own.network, defaults.network, spec.network);
  spec.cpu_milli = first_of(own.resources.cpu_milli, defaults.resources.cpu_milli, spec.cpu_milli);
  spec.memory_bytes = first_of(own.resources.memory_bytes, defaults.resources.memory_bytes, spec.memory_bytes);
  spec.disk_bytes = first_of(own.resources.disk_bytes, defaults.resources.disk_bytes, spec.disk_bytes);
  spec.timeout = first_of(own.timeout, defaults.timeout, spec.timeout);
  spec.retry = first_of(own.retry, defaults.retry, spec.retry);
  spec.checkout = first_of(own.checkout, defaults.checkout, spec.checkout);
}

std::string Expander::image(const Text& text) {
  auto out = value(text);
  if (budget_.spent()) return out;
  if (out.contains("${{")) problem(text.at, "this image is known only after other jobs have run", "choose it with matrix or inputs");
  else if (!is_image(out)) problem(text.at, "'" + out.substr(0, 64) + "' is no image", "write host, oci:PATH[:TAG], a directory or a registry's image");
  return out;
}

/// Its env may name the job's, and what needed jobs will have said.
ServiceSpec Expander::service(const ServiceDef& written) {
  ServiceSpec out{.name = written.name.text, .image = image(written.image), .run = written.run.text, .env = {}, .ready = written.ready.text};
  auto outer_known = context_.env;
  auto outer_later = context_.later_env;
  out.env = env({}, written.env);
  context_.env = std::move(outer_known);
  context_.later_env = std::move(outer_later);
  budget_.text(out.run.size() + out.ready.size() + bytes_a_step, pipeline_.file, written.name.at);
  if (out.run.empty() && !out.image.empty() && !has_own_command(out.image))
    problem(written.name.at, "the service '" + out.name + "' has nothing to run: " + (out.image == "host" ? "the host" : "a directory") + " names no command", "add run: COMMAND");
  return out;
}

void Expander::labels(JobSpec& spec, const CommonDef& common) {
  if (!common.runs_on) return;
  spec.runs_on = values(*common.runs_on);
  for (std::size_t i = 0; i < spec.runs_on.size(); ++i)
    if (!is_label(spec.runs_on[i]) && !budget_.spent()) problem((*common.runs_on)[i].at, "'" + spec.runs_on[i].substr(0, 64) + "' is no label", "write letters, digits and -_./:=");
}

void Expander::kept(JobSpec& spec, const JobDef& job) {
  spec.outputs = paths(job.outputs);
  spec.artifacts.paths = paths(job.artifact_paths);
  spec.artifacts.expire = job.artifacts_expire;
  spec.artifacts.when = job.artifacts_when;
  spec.junit = paths(job.junit);
}

/// What is decided already is not asked again: `if` becomes skipped, "" or always().
void Expander::condition(JobSpec& spec, const JobDef& job) {
  if (job.condition.empty()) return;
  auto expression = parse_condition(job.condition.text);
  if (!expression || !budget_.expressions(1, pipeline_.file, job.condition.at)) return;
  auto answer = evaluate(*expression, context_);
  if (!answer) return problem(job.condition.at, answer.error().message, answer.error().hint);
  spec.condition = condition_body(job.condition.text);
  if (answer->truth == true) spec.condition = expression->asks_standing() ? "always()" : "";
  if (!answer->truth && job.needs.empty()) {
    context_.standing = Standing::success;
    answer = evaluate(*expression, context_);
    context_.standing = std::nullopt;
  }
  if (!answer || answer->truth != false) return;
  spec.skipped = true;
  spec.skip_reason = "its `if` is false: " + spec.condition;
}

// ---- steps

StepSpec Expander::step(const JobDef& job, const StepDef& written, const Env& job_env, const std::set<std::string>& outside, bool finally) {
  StepSpec out;
  out.finally = finally;
  out.timeout = written.timeout;
  for (auto* shell : {&written.shell, &job.common.shell, &pipeline_.defaults.shell})
    if (out.shell.empty()) out.shell = shell->text;
  out.condition = condition_body(written.condition.text);
  if (finally) out.condition = finally_condition(out.condition);
  auto outer_known = context_.env;
  auto outer_later = context_.later_env;
  out.name = step_name(written);
  out.env = env({}, written.env);
  script(out, written, {is_posix_shell(out.shell), outside, names_of(job_env, out.env)});
  context_.env = std::move(outer_known);
  context_.later_env = std::move(outer_later);
  return out;
}

void Expander::script(StepSpec& out, const StepDef& written, const ScriptOptions& options) {
  auto& source = parsed(written.run);
  if (!budget_.text(written.run.text.size() + bytes_a_step, pipeline_.file, written.run.at)) return;
  if (!budget_.expressions(source.expressions(), pipeline_.file, written.run.at)) return;
  auto script = write_script(source, context_, options);
  if (!script) return problem(mark_of(written.run, script.error().offset), script.error().message, script.error().hint);
  if (!budget_.text(script->text.size(), pipeline_.file, written.run.at)) return;
  out.run = std::move(script->text);
  out.env.merge(script->variables);
}

std::string Expander::step_name(const StepDef& written) {
  if (!written.name.empty()) return shortened(value(written.name));
  auto line = std::string(first_line(written.run.text));
  auto source = Template::parse(line);
  if (!source || source->is_literal()) return shortened(std::move(line));
  auto shown = interpolate_known(*source, context_);
  return shortened(shown ? shown->text : std::move(line));
}

/// A `finally` step runs whatever happened, unless its own `if` says otherwise.
std::string Expander::finally_condition(const std::string& condition) {
  if (condition.empty()) return "always()";
  auto expression = Expression::parse(condition);
  return expression && !expression->asks_standing() ? "always() && (" + condition + ")" : condition;
}

}  // namespace mayfly
