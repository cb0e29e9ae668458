#include "runner/control/messages.h"

#include "domain/names.h"
#include "domain/runner/json_forms.h"
#include "runner/control/shell_forms.h"

namespace mayfly {
namespace {

using forms::form;
using forms::Reader;

constexpr Name<JobSoFar> so_far_names[] = {
    {JobSoFar::success, "success"}, {JobSoFar::failure, "failure"}, {JobSoFar::canceled, "canceled"}};

std::int64_t us(Duration d) { return d.count(); }

json::value form(const InitStep& s) {
  json::object out{{"name", s.name}, {"run", s.run}, {"env", forms::strings(s.env)}};
  if (!s.shell.empty()) out["shell"] = s.shell;
  if (!s.condition.empty()) out["if"] = s.condition;
  if (s.timeout) out["timeout_us"] = us(*s.timeout);
  if (s.finally) out["finally"] = true;
  return out;
}

json::value form(const InitJob& j) {
  json::array steps;
  for (auto& step : j.steps) steps.push_back(form(step));
  return json::object{{"job", json::object{{"steps", std::move(steps)},
                                           {"env", forms::strings(j.env)},
                                           {"secrets", forms::strings(j.secrets)},
                                           {"timeout_us", us(j.timeout)},
                                           {"term_grace_us", us(j.term_grace)},
                                           {"finally_limit_us", us(j.finally_limit)},
                                           {"log_limit", j.log_limit},
                                           {"log_begin", j.log_begin},
                                           {"hold_us", us(j.hold)}}}};
}

json::value form(const CancelJob& c) {
  json::object out{{"grace_us", us(c.grace)}, {"reason", to_string(c.outcome)}, {"why", c.why}};
  if (c.finally_limit) out["finally_limit_us"] = us(*c.finally_limit);
  return json::object{{"cancel", std::move(out)}};
}

json::value form(const ConditionAnswer& a) {
  return json::object{{"condition", json::object{{"step", a.step}, {"run", a.run}, {"error", a.error}}}};
}

json::value form(const AskCondition& a) {
  return json::object{{"ask", json::object{{"step", a.step},
                                           {"so_far", name_of(so_far_names, a.so_far)},
                                           {"env", forms::strings(a.env)},
                                           {"outputs", forms::strings(a.outputs)}}}};
}

json::value form(const StepChange& c) {
  return json::object{{"step", json::object{{"index", c.step}, {"state", forms::form(c.state)}}}};
}

json::value form(const InitDone& d) {
  json::object out{{"outcome", to_string(d.outcome)}, {"detail", d.detail},         {"killed", d.killed},
                   {"out_of_memory", d.out_of_memory},
                   {"outputs", forms::strings(d.outputs)}, {"log_bytes", d.log_bytes}, {"dropped_bytes", d.dropped_bytes}};
  if (d.exit_code) out["exit_code"] = *d.exit_code;
  return json::object{{"done", std::move(out)}};
}

void read_duration(Reader& read, std::string_view key, Duration& into) {
  std::int64_t value = us(into);
  read.optional(key, value);
  if (value < 0) read.set_wrong(key, "0 or more");
  into = Duration(value);
}

void read_count(Reader& read, std::string_view key, std::int64_t& into) {
  read.required(key, into);
  if (into < 0) read.set_wrong(key, "0 or more");
}

void read_outcome(Reader& read, std::string_view key, Outcome& into) {
  std::string text;
  read.required(key, text);
  if (auto known = outcome_from(text)) into = *known;
  else read.set_wrong(key, "an outcome");
}

void read_limit(Reader& read, std::string_view key, std::optional<Duration>& into) {
  std::optional<std::int64_t> limit;
  read.optional(key, limit);
  if (limit && *limit < 0) read.set_wrong(key, "0 or more");
  if (limit) into = Duration(*limit);
}

Result<InitStep> init_step(const json::value& v, std::string path) {
  InitStep s;
  Reader read(v, std::move(path));
  read.required("name", s.name);
  read.required("run", s.run);
  read.optional("shell", s.shell);
  read.optional("env", s.env);
  read.optional("if", s.condition);
  read_limit(read, "timeout_us", s.timeout);
  read.optional("finally", s.finally);
  return read.done(std::move(s));
}

Result<ToInit> init_job(const json::value& v) {
  InitJob j;
  Reader read(v, "job");
  read.each("steps", j.steps, init_step);
  read.optional("env", j.env);
  read.optional("secrets", j.secrets);
  read_duration(read, "timeout_us", j.timeout);
  read_duration(read, "term_grace_us", j.term_grace);
  read_duration(read, "finally_limit_us", j.finally_limit);
  read_count(read, "log_limit", j.log_limit);
  read.optional("log_begin", j.log_begin);
  if (j.log_begin < 0) read.set_wrong("log_begin", "0 or more");
  read_duration(read, "hold_us", j.hold);
  return read.done(ToInit(std::move(j)));
}

Result<ToInit> cancel_job(const json::value& v) {
  CancelJob c;
  Reader read(v, "cancel");
  read_duration(read, "grace_us", c.grace);
  read_outcome(read, "reason", c.outcome);
  read.optional("why", c.why);
  read_limit(read, "finally_limit_us", c.finally_limit);
  return read.done(ToInit(c));
}

Result<ToInit> condition_answer(const json::value& v) {
  ConditionAnswer a;
  Reader read(v, "condition");
  read_count(read, "step", a.step);
  read.required("run", a.run);
  read.optional("error", a.error);
  return read.done(ToInit(std::move(a)));
}

Result<FromInit> ask_condition(const json::value& v) {
  AskCondition a;
  Reader read(v, "ask");
  read_count(read, "step", a.step);
  std::string so_far;
  read.required("so_far", so_far);
  if (auto known = value_of(so_far_names, so_far)) a.so_far = *known;
  else read.set_wrong("so_far", "success, failure or canceled");
  read.optional("env", a.env);
  read.optional("outputs", a.outputs);
  return read.done(FromInit(std::move(a)));
}

Result<FromInit> step_change(const json::value& v) {
  StepChange c;
  Reader read(v, "step");
  read_count(read, "index", c.step);
  read.required("state", c.state, forms::step_state);
  return read.done(FromInit(std::move(c)));
}

Result<FromInit> init_done(const json::value& v) {
  InitDone d;
  Reader read(v, "done");
  read_outcome(read, "outcome", d.outcome);
  read.optional("detail", d.detail);
  std::optional<std::int64_t> exit_code;
  read.optional("exit_code", exit_code);
  if (exit_code && (*exit_code < 0 || *exit_code > 255)) read.set_wrong("exit_code", "0 to 255");
  if (exit_code) d.exit_code = static_cast<int>(*exit_code);
  read.optional("killed", d.killed);
  read.optional("out_of_memory", d.out_of_memory);
  read.optional("outputs", d.outputs);
  read_count(read, "log_bytes", d.log_bytes);
  read_count(read, "dropped_bytes", d.dropped_bytes);
  return read.done(FromInit(std::move(d)));
}

template <class Message>
struct Kind {
  std::string_view key;
  Result<Message> (*read)(const json::value&);
};

/// A reader of one of the messages, as a reader of any.
template <class Message, auto Read>
Result<Message> as(const json::value& v) {
  TRY_ASSIGN(auto one, Read(v));
  return Message(std::move(one));
}

constexpr Kind<ToInit> to_init_kinds[] = {
    {"job", init_job}, {"cancel", cancel_job}, {"condition", condition_answer},
    {"open_shell", as<ToInit, forms::open_shell>}, {"shell_input", as<ToInit, forms::shell_input>}, {"resize_shell", as<ToInit, forms::shell_resize>},
    {"close_shell", as<ToInit, forms::close_shell>}, {"shell_taken", as<ToInit, forms::shell_taken>}, {"release", as<ToInit, forms::release_hold>}};
constexpr Kind<FromInit> from_init_kinds[] = {
    {"ask", ask_condition}, {"step", step_change}, {"done", init_done},
    {"shell_output", as<FromInit, forms::shell_output>}, {"shell_taken", as<FromInit, forms::shell_taken>},
    {"shell_ended", as<FromInit, forms::shell_ended>}, {"hold", as<FromInit, forms::hold_change>}};

template <class Message, std::size_t N>
Result<Message> read_line(const Kind<Message> (&kinds)[N], std::string_view line) {
  if (line.size() > max_control_line_bytes) return fail(Errc::too_large, "a control message is over the limit");
  TRY_ASSIGN(auto v, parse_json(line));
  if (auto* object = v.if_object())
    for (auto& kind : kinds)
      if (auto* body = object->if_contains(kind.key)) return kind.read(*body);
  return fail(Errc::invalid, "a control message of no known kind");
}

template <class Message>
std::string line_of(const Message& message) {
  return json::serialize(std::visit([](auto& m) { return json::value(form(m)); }, message)) + "\n";
}

}  // namespace

std::string to_line(const ToInit& message) { return line_of(message); }
std::string to_line(const FromInit& message) { return line_of(message); }
Result<ToInit> to_init_from(std::string_view line) { return read_line(to_init_kinds, line); }
Result<FromInit> from_init_from(std::string_view line) { return read_line(from_init_kinds, line); }

}  // namespace mayfly
