#pragma once
// The language of `if` and `${{ … }}`: small, typed, without loops or calls outside, so that a hostile pipeline can ask
// for nothing but what is handed in. The same code answers at plan time (where what jobs will say is not known yet),
// when a job's needs have ended, and in the runner before each step.
//
//   event ref branch tag sha   inputs.NAME env.NAME matrix.NAME   needs.JOB.status needs.JOB.outputs.NAME
//   == != < <= > >= && || ! ( )   'text' "text" 12.5 true false
//   contains(text, part) starts_with(text, start) ends_with(text, end) hash_files('glob', …) success() failure() always()
//
// Values are text, numbers and booleans. Text that reads as a number or boolean equals it; an ordering needs numbers on
// both sides. False are: false, 0, "", "false", "0". `a && b` and `a || b` give the operand that decided, so
// `tag && 'release' || 'dev'` chooses. Secrets are no values here.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "domain/pipeline/plan.h"

namespace mayfly {

inline constexpr std::size_t max_expression_bytes = 4096;
inline constexpr std::size_t max_expression_depth = 64;

/// What has become of what came before: the needs of a job, or the steps before a step.
enum class Standing { success, failure, canceled };

struct NeedState {
  std::string status;                          // a job status: succeeded, failed, canceled, skipped, cached
  std::map<std::string, std::string> outputs;  // $CI_OUTPUT
};

struct ExpressionContext {
  TriggerEvent event = {};
  Env env = {};
  std::set<std::string> later_env = {};  // variables whose value is not known yet
  std::map<std::string, std::string> matrix = {};
  /// By the names of the jobs after expansion. `needs.test` gathers every "test (…)": failed if one failed, canceled if
  /// one was, skipped if all were, else succeeded; of equal outputs the last job's.
  std::map<std::string, NeedState> needs = {};
  /// nullopt while the plan is made: not known yet.
  std::optional<Standing> standing = Standing::success;
};

using ExpressionValue = std::variant<std::string, double, bool>;

bool is_true(const ExpressionValue&);
std::string to_string(const ExpressionValue&);

struct ExpressionError {
  std::size_t offset = 0;  // in bytes, where it goes wrong
  std::string message;
  std::string hint;
};

/// A parsed expression, evaluated as often as one likes.
class Expression final {
 public:
  enum class Op : std::uint8_t { literal, name, call, negate, both, either, equal, unequal, less, less_equal, greater, greater_equal };
  struct Term {
    Op op = Op::literal;
    std::size_t offset = 0;
    ExpressionValue literal;                    // of literal
    std::vector<std::string> path;    // of name: {"needs", "build", "outputs", "x"}; of call: {"contains"}
    std::vector<std::size_t> operands;
  };

  /// Grammar and the names of functions and values are checked; which inputs or needs exist is the caller's to check.
  static std::expected<Expression, ExpressionError> parse(std::string_view text);

  const std::vector<Term>& terms() const { return terms_; }
  const Term& root() const { return terms_[root_]; }
  /// Whether success(), failure() or always() is in it: then success is not asked for besides.
  bool asks_standing() const;

 private:
  std::vector<Term> terms_;
  std::size_t root_ = 0;
  friend class ExpressionParser;
};

/// What is known of a value: all, only whether it is true (`needs.a.status == 'x' && false`), or nothing yet.
struct Evaluation {
  std::optional<ExpressionValue> value;
  std::optional<bool> truth;
};

/// Errc::invalid when values do not fit the operator (the message says which).
Result<Evaluation> evaluate(const Expression&, const ExpressionContext&);

/// The expression of an `if`: without spaces around it and `${{ }}`. A view into `text`.
std::string_view condition_body(std::string_view text);
/// Offsets of errors are in `text`, those of terms in its body. "" reads as success().
std::expected<Expression, ExpressionError> parse_condition(std::string_view text);

/// An `if`, with or without `${{ }}` around it. "" means success(); one that never asks for the standing means
/// `success() && (…)`. Errc::invalid if it is no expression, or not decidable from the context.
Result<bool> evaluate_condition(std::string_view text, const ExpressionContext&);

/// Text with `${{ … }}` in it.
class Template final {
 public:
  struct Part {
    std::string text;                      // as written; of an expression without the braces
    std::optional<Expression> expression;  // nullopt: literal text
    std::size_t offset = 0;                // of the part (an expression: of its first byte inside) in the whole
  };

  static std::expected<Template, ExpressionError> parse(std::string_view text);
  /// Goes on after an error; what is wrong is added to `errors` and left out of the parts.
  static Template parse_all(std::string_view text, std::vector<ExpressionError>& errors);

  const std::vector<Part>& parts() const { return parts_; }
  std::size_t expressions() const;
  bool is_literal() const { return parts_.empty() || (parts_.size() == 1 && !parts_[0].expression); }

 private:
  std::vector<Part> parts_;
};

/// Replaces every `${{ … }}` by its value. Errc::invalid, as evaluate, or if something is not known.
Result<std::string> interpolate(std::string_view text, const ExpressionContext&);

/// What can be said now. `complete`: `text` is the plain text. Otherwise it is a template with only what is unknown left.
struct Interpolation {
  std::string text;
  bool complete = true;
};
Result<Interpolation> interpolate_known(const Template&, const ExpressionContext&);

/// The template that interpolates to exactly this text.
std::string as_template(std::string_view text);

}  // namespace mayfly
