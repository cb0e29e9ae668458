#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/digest.h"
#include "domain/pipeline/expression.h"

namespace mayfly {
namespace {

using Op = Expression::Op;

/// Text as a number, if it is one from end to end.
std::optional<double> number_of(const ExpressionValue& value) {
  if (auto* number = std::get_if<double>(&value)) return *number;
  auto* text = std::get_if<std::string>(&value);
  if (!text || text->empty()) return std::nullopt;
  double number = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number, std::chars_format::fixed);
  if (error != std::errc{} || end != text->data() + text->size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

bool equal(const ExpressionValue& a, const ExpressionValue& b) {
  if (a.index() == b.index()) return a == b;
  if (std::holds_alternative<bool>(a) || std::holds_alternative<bool>(b)) return to_string(a) == to_string(b);
  auto x = number_of(a), y = number_of(b);
  return x && y && *x == *y;
}

bool ordered(Op op, double a, double b) {
  switch (op) {
    case Op::less: return a < b;
    case Op::less_equal: return a <= b;
    case Op::greater: return a > b;
    default: return a >= b;
  }
}

Evaluation known(ExpressionValue value) {
  bool truth = is_true(value);
  return {std::move(value), truth};
}

std::string_view after(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : std::string_view{};
}

class Evaluator {
 public:
  Evaluator(const Expression& expression, const ExpressionContext& context) : expression_(expression), context_(context) {}

  Result<Evaluation> value_of(const Expression::Term& term) const {
    switch (term.op) {
      case Op::literal: return known(term.literal);
      case Op::name: return name(term.path);
      case Op::call: return call(term);
      case Op::negate: return negate(term);
      case Op::both: return chain(term, false);
      case Op::either: return chain(term, true);
      default: return compare(term);
    }
  }

 private:
  Result<Evaluation> operand(const Expression::Term& term, std::size_t i) const { return value_of(expression_.terms()[term.operands[i]]); }

  Result<Evaluation> name(const std::vector<std::string>& path) const {
    auto& event = context_.event;
    auto& first = path[0];
    if (first == "event") return known(event.event);
    if (first == "ref") return known(event.ref);
    if (first == "branch") return known(std::string(after(event.ref, "refs/heads/")));
    if (first == "tag") return known(std::string(after(event.ref, "refs/tags/")));
    if (first == "sha") return known(event.sha);
    if (first == "inputs") return look_up(event.inputs, path[1]);
    if (first == "env") return context_.later_env.contains(path[1]) ? Evaluation{} : look_up(context_.env, path[1]);
    if (first == "matrix") return look_up(context_.matrix, path[1]);
    return need(path);
  }

  static Evaluation look_up(const std::map<std::string, std::string>& values, const std::string& name) {
    auto found = values.find(name);
    return known(found == values.end() ? std::string() : found->second);
  }

  Result<Evaluation> need(const std::vector<std::string>& path) const {
    std::vector<const NeedState*> jobs;
    if (auto exact = context_.needs.find(path[1]); exact != context_.needs.end()) {
      jobs.push_back(&exact->second);
    } else {
      auto prefix = path[1] + " (";
      for (auto at = context_.needs.lower_bound(prefix); at != context_.needs.end() && at->first.starts_with(prefix); ++at) jobs.push_back(&at->second);
    }
    if (jobs.empty()) return Evaluation{};
    if (path[2] == "status") return known(status_of(jobs));
    std::string output;
    for (auto* job : jobs)
      if (auto found = job->outputs.find(path[3]); found != job->outputs.end()) output = found->second;
    return known(std::move(output));
  }

  static std::string status_of(const std::vector<const NeedState*>& jobs) {
    if (jobs.size() == 1) return jobs[0]->status;
    auto any = [&](std::string_view status) { return std::ranges::any_of(jobs, [&](auto* job) { return job->status == status; }); };
    if (any("failed")) return "failed";
    if (any("canceled")) return "canceled";
    return std::ranges::all_of(jobs, [](auto* job) { return job->status == "skipped"; }) ? "skipped" : "succeeded";
  }

  Result<Evaluation> negate(const Expression::Term& term) const {
    TRY_ASSIGN(auto inner, operand(term, 0));
    if (!inner.truth) return Evaluation{};
    return known(!*inner.truth);
  }

  /// `&&` stops at the first false operand, `||` at the first true one. An unknown operand does not hide one that decides.
  Result<Evaluation> chain(const Expression::Term& term, bool stop_at) const {
    bool all_known = true;
    Evaluation last;
    for (std::size_t i = 0; i < term.operands.size(); ++i) {
      TRY_ASSIGN(last, operand(term, i));
      if (last.truth == stop_at) return all_known ? last : Evaluation{std::nullopt, stop_at};
      if (!last.value) all_known = false;
    }
    return all_known ? last : Evaluation{};
  }

  Result<Evaluation> compare(const Expression::Term& term) const {
    TRY_ASSIGN(auto left, operand(term, 0));
    TRY_ASSIGN(auto right, operand(term, 1));
    if (!left.value || !right.value) return Evaluation{};
    if (term.op == Op::equal) return known(equal(*left.value, *right.value));
    if (term.op == Op::unequal) return known(!equal(*left.value, *right.value));
    auto a = number_of(*left.value), b = number_of(*right.value);
    if (!a || !b)
      return fail(Errc::invalid, "'" + to_string(!a ? *left.value : *right.value) + "' is not a number, so it cannot be ordered", "compare text with == or !=");
    return known(ordered(term.op, *a, *b));
  }

  Result<Evaluation> call(const Expression::Term& term) const {
    auto& function = term.path[0];
    if (function == "always") return known(true);
    if (function == "success") return standing(Standing::success);
    if (function == "failure") return standing(Standing::failure);
    if (function == "hash_files") return hash_files(term);
    TRY_ASSIGN(auto left, operand(term, 0));
    TRY_ASSIGN(auto right, operand(term, 1));
    if (!left.value || !right.value) return Evaluation{};
    auto text = to_string(*left.value), part = to_string(*right.value);
    if (function == "contains") return known(text.contains(part));
    if (function == "starts_with") return known(text.starts_with(part));
    return known(text.ends_with(part));
  }

  Evaluation standing(Standing asked) const {
    if (!context_.standing) return {};
    return known(*context_.standing == asked);
  }

  Result<Evaluation> hash_files(const Expression::Term& term) const {
    std::string all;
    for (auto operand : term.operands) {
      auto& glob = std::get<std::string>(expression_.terms()[operand].literal);
      auto found = context_.event.file_hashes.find(glob);
      if (found == context_.event.file_hashes.end()) return fail(Errc::invalid, "the files of hash_files('" + glob + "') are not known here");
      all += found->second;
    }
    return known(all.empty() ? std::string() : to_hex(sha256(all)));
  }

  const Expression& expression_;
  const ExpressionContext& context_;
};

std::string number_text(double number) {
  char out[64];
  auto [end, error] = std::to_chars(out, out + sizeof out, number);
  return std::string(out, end);
}

}  // namespace

bool is_true(const ExpressionValue& value) {
  if (auto* truth = std::get_if<bool>(&value)) return *truth;
  if (auto* number = std::get_if<double>(&value)) return *number != 0;
  auto& text = std::get<std::string>(value);
  return !text.empty() && text != "false" && text != "0";
}

std::string to_string(const ExpressionValue& value) {
  if (auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (auto* number = std::get_if<double>(&value)) return number_text(*number);
  return std::get<std::string>(value);
}

Result<Evaluation> evaluate(const Expression& expression, const ExpressionContext& context) {
  return Evaluator(expression, context).value_of(expression.root());
}

}  // namespace mayfly
