#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>

#include "domain/pipeline/expression.h"
#include "domain/pipeline/suggest.h"

namespace mayfly {
namespace {

constexpr std::array<std::string_view, 9> known_names{"event", "ref", "branch", "tag", "sha", "inputs", "env", "matrix", "needs"};

struct Function {
  std::string_view name;
  std::size_t least;
  std::size_t most;
};
constexpr Function functions[] = {
    {"contains", 2, 2}, {"starts_with", 2, 2}, {"ends_with", 2, 2}, {"hash_files", 1, 16}, {"success", 0, 0}, {"failure", 0, 0}, {"always", 0, 0},
};

struct Operator {
  std::string_view text;
  Expression::Op op;
};
// Longer ones first.
constexpr Operator comparisons[] = {
    {"==", Expression::Op::equal},         {"!=", Expression::Op::unequal}, {"<=", Expression::Op::less_equal},
    {">=", Expression::Op::greater_equal}, {"<", Expression::Op::less},     {">", Expression::Op::greater},
};

struct ForeignName {
  std::string_view name;
  std::string_view hint;
};
constexpr ForeignName foreign_names[] = {
    {"github", "write ref, sha, event, branch or tag"},
    {"secrets", "secrets are no values: name them under the job's `secrets` and read them from the environment"},
    {"steps", "write KEY=value to $CI_ENV and use env.KEY"},
    {"vars", "use env.NAME"},
    {"runner", "use the environment in the step"},
    {"job", "use success() or failure()"},
    {"strategy", "use matrix.NAME"},
};
constexpr ForeignName foreign_functions[] = {
    {"startsWith", "write starts_with"},
    {"endsWith", "write ends_with"},
    {"hashFiles", "write hash_files"},
    {"cancelled", "write !success() && !failure()"},
    {"canceled", "write !success() && !failure()"},
    {"format", "write text with several ${{ }} in it"},
    {"fromJSON", "there is no JSON in expressions"},
    {"toJSON", "there is no JSON in expressions"},
};

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) { return is_name_start(c) || is_digit(c) || c == '-'; }

std::string quoted(std::string_view text) { return "'" + std::string(text.substr(0, 64)) + "'"; }

template <std::size_t N>
std::string foreign_hint(const ForeignName (&table)[N], std::string_view name) {
  for (auto& row : table)
    if (row.name == name) return std::string(row.hint);
  return {};
}

}  // namespace

class ExpressionParser final {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}

  std::expected<Expression, ExpressionError> parse() {
    if (text_.size() > max_expression_bytes)
      return std::unexpected(ExpressionError{0, "the expression is longer than " + std::to_string(max_expression_bytes) + " bytes", {}});
    auto root = either();
    skip_space();
    if (!error_ && at_ < text_.size()) unexpected();
    if (error_) return std::unexpected(*std::move(error_));
    out_.root_ = root;
    return std::move(out_);
  }

 private:
  using Op = Expression::Op;

  std::size_t fail(std::size_t offset, std::string message, std::string hint = {}) {
    if (!error_) error_ = ExpressionError{offset, std::move(message), std::move(hint)};
    at_ = text_.size();
    return 0;
  }

  std::size_t unexpected() {
    if (at_ >= text_.size()) return fail(text_.size(), text_.find_first_not_of(" \t\r\n") == text_.npos ? "the expression is empty" : "the expression ends too early", "a value is missing");
    std::string_view rest = text_.substr(at_);
    if (rest.starts_with("${{")) return fail(at_, "unexpected '${{'", "an `if` is an expression already: leave ${{ }} out");
    if (rest[0] == '=') return fail(at_, "unexpected '='", "compare with ==");
    if (rest[0] == '&') return fail(at_, "unexpected '&'", "write &&");
    if (rest[0] == '|') return fail(at_, "unexpected '|'", "write ||");
    auto length = std::min(rest.find_first_of(" \t\r\n()"), rest.size());
    return fail(at_, "unexpected " + quoted(rest.substr(0, std::max<std::size_t>(length, 1))));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  bool take(std::string_view token) {
    skip_space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  std::size_t make(Op op, std::size_t offset, std::vector<std::size_t> operands = {}) {
    auto& term = out_.terms_.emplace_back();
    term.op = op;
    term.offset = offset;
    term.operands = std::move(operands);
    return out_.terms_.size() - 1;
  }

  std::size_t chain(std::string_view token, Op op, std::size_t (ExpressionParser::*next)()) {
    auto first = (this->*next)();
    std::vector<std::size_t> operands{first};
    auto offset = at_;
    while (!error_ && take(token)) operands.push_back((this->*next)());
    return operands.size() == 1 ? first : make(op, offset, std::move(operands));
  }

  std::size_t either() { return chain("||", Op::either, &ExpressionParser::both); }
  std::size_t both() { return chain("&&", Op::both, &ExpressionParser::comparison); }

  std::size_t comparison() {
    auto left = unary();
    skip_space();
    for (auto& row : comparisons) {
      auto offset = at_;
      if (error_ || !take(row.text)) continue;
      if (row.op == Op::equal && text_.substr(at_).starts_with("=")) return fail(offset, "unexpected '==='", "compare with ==");
      auto right = unary();
      skip_space();
      for (auto& again : comparisons)
        if (text_.substr(at_).starts_with(again.text)) return fail(at_, "comparisons do not chain", "join them with &&");
      return make(row.op, offset, {left, right});
    }
    return left;
  }

  std::size_t unary() {
    skip_space();
    auto offset = at_;
    if (text_.substr(at_).starts_with("!") && !text_.substr(at_).starts_with("!=")) {
      ++at_;
      return nested([&] { return make(Op::negate, offset, {unary()}); });
    }
    return primary();
  }

  template <class F>
  std::size_t nested(F parse) {
    if (++depth_ > max_expression_depth)
      return fail(at_, "the expression is nested deeper than " + std::to_string(max_expression_depth) + " levels");
    auto term = parse();
    --depth_;
    return term;
  }

  std::size_t primary() {
    skip_space();
    if (error_ || at_ >= text_.size()) return unexpected();
    char c = text_[at_];
    if (c == '(') {
      ++at_;
      auto inner = nested([&] { return either(); });
      if (!error_ && !take(")")) return fail(at_, "a ')' is missing");
      return inner;
    }
    if (c == '\'' || c == '"') return text_literal(c);
    if (is_digit(c) || (c == '-' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) return number();
    if (is_name_start(c)) return name_or_call();
    return unexpected();
  }

  std::size_t text_literal(char quote) {
    auto offset = at_++;
    std::string value;
    for (;; ++at_) {
      if (at_ >= text_.size()) return fail(offset, std::string("the text that begins with ") + quote + " does not end");
      if (text_[at_] == quote) {
        if (!text_.substr(at_ + 1).starts_with(quote)) break;
        ++at_;  // a doubled quote stands for itself
      }
      value += text_[at_];
    }
    ++at_;
    return literal(offset, std::move(value));
  }

  std::size_t literal(std::size_t offset, ExpressionValue value) {
    auto term = make(Op::literal, offset);
    out_.terms_[term].literal = std::move(value);
    return term;
  }

  std::size_t number() {
    auto offset = at_;
    double value = 0;
    auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value, std::chars_format::fixed);
    at_ = std::size_t(end - text_.data());
    if (error != std::errc{} || (at_ < text_.size() && (is_name(text_[at_]) || text_[at_] == '.')))
      return fail(offset, "not a number", "put text in quotes");
    return literal(offset, value);
  }

  std::string word() {
    auto begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::size_t name_or_call() {
    auto offset = at_;
    std::vector<std::string> path{word()};
    if (path[0] == "true" || path[0] == "false") return literal(offset, path[0] == "true");
    if (take("(")) return call(offset, path[0]);
    while (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (at_ >= text_.size() || !is_name(text_[at_])) return fail(at_, "a name is missing after '.'");
      path.push_back(word());
    }
    if (at_ < text_.size() && text_[at_] == '[') return fail(at_, "unexpected '['", "write " + path[0] + ".NAME");
    return name(offset, std::move(path));
  }

  /// How many names a path of this first name has, and how it is written.
  static std::string_view wrong_shape(const std::vector<std::string>& path) {
    auto& first = path[0];
    if (first == "inputs" || first == "env" || first == "matrix") return path.size() == 2 ? "" : "NAME";
    if (first != "needs") return path.size() == 1 ? "" : "nothing";
    bool status = path.size() == 3 && path[2] == "status";
    bool output = path.size() == 4 && path[2] == "outputs";
    return status || output ? "" : "JOB.status or needs.JOB.outputs.NAME";
  }

  std::size_t name(std::size_t offset, std::vector<std::string> path) {
    auto& first = path[0];
    if (std::ranges::find(known_names, first) == known_names.end()) {
      auto hint = foreign_hint(foreign_names, first);
      if (hint.empty()) hint = nearest(first, known_names).empty() ? "put text in quotes; " + suggestion(first, known_names) : suggestion(first, known_names);
      return fail(offset, "unknown name " + quoted(first), std::move(hint));
    }
    if (auto shape = wrong_shape(path); shape == "nothing") return fail(offset, quoted(first) + " has no parts", "write " + first);
    else if (!shape.empty()) return fail(offset, quoted(joined(path)) + " is not a value", "write " + first + "." + std::string(shape));
    auto term = make(Op::name, offset);
    out_.terms_[term].path = std::move(path);
    return term;
  }

  static std::string joined(const std::vector<std::string>& path) {
    std::string out = path[0];
    for (auto& part : path | std::views::drop(1)) out += "." + part;
    return out;
  }

  std::size_t call(std::size_t offset, const std::string& function) {
    std::vector<std::size_t> arguments;
    if (!take(")")) {
      do arguments.push_back(nested([&] { return either(); }));
      while (!error_ && take(","));
      if (!error_ && !take(")")) return fail(at_, "a ')' is missing");
    }
    if (error_) return 0;
    auto* known = std::ranges::find(functions, function, &Function::name);
    if (known == std::end(functions)) return unknown_function(offset, function);
    if (arguments.size() < known->least || arguments.size() > known->most)
      return fail(offset, function + "() takes " + (known->least == known->most ? std::to_string(known->least) : "1 to 16") + " arguments, not " +
                              std::to_string(arguments.size()));
    if (function == "hash_files")
      for (auto argument : arguments)
        if (auto& term = out_.terms_[argument]; term.op != Op::literal || !std::holds_alternative<std::string>(term.literal))
          return fail(term.offset, "hash_files() takes globs in quotes", "write hash_files('src/**')");
    auto term = make(Op::call, offset, std::move(arguments));
    out_.terms_[term].path = {function};
    return term;
  }

  std::size_t unknown_function(std::size_t offset, const std::string& function) {
    auto hint = foreign_hint(foreign_functions, function);
    std::vector<std::string_view> names;
    for (auto& row : functions) names.push_back(row.name);
    if (hint.empty()) hint = suggestion(function, names);
    return fail(offset, "unknown function " + quoted(function), std::move(hint));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  Expression out_;
  std::optional<ExpressionError> error_;
};

std::expected<Expression, ExpressionError> Expression::parse(std::string_view text) { return ExpressionParser(text).parse(); }

bool Expression::asks_standing() const {
  return std::ranges::any_of(terms_, [](const Term& t) {
    return t.op == Op::call && (t.path[0] == "success" || t.path[0] == "failure" || t.path[0] == "always");
  });
}

}  // namespace mayfly
