#include <algorithm>

#include "domain/pipeline/expression.h"

namespace mayfly {
namespace {

constexpr std::string_view opening = "${{";
constexpr std::string_view closing = "}}";

/// Where the expression that begins at `from` ends: its "}}", not one within quotes.
std::size_t end_of_expression(std::string_view text, std::size_t from) {
  char quote = 0;
  for (auto i = from; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '\'' || text[i] == '"') {
      quote = text[i];
    } else if (text.substr(i).starts_with(closing)) {
      return i;
    }
  }
  return text.npos;
}

Error as_error(const ExpressionError& e, std::string_view text) {
  return {Errc::invalid, e.message + " at byte " + std::to_string(e.offset + 1) + " of '" + std::string(text.substr(0, 200)) + "'", e.hint};
}

std::unexpected<Error> not_known(std::string_view text) {
  return fail(Errc::invalid, "'" + std::string(text.substr(0, 200)) + "' asks for something that is not known here", "name the jobs it asks for under `needs`");
}

std::string_view trimmed(std::string_view text) {
  auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

Template Template::parse_all(std::string_view text, std::vector<ExpressionError>& errors) {
  Template out;
  for (std::size_t at = 0; at < text.size();) {
    auto begin = std::min(text.find(opening, at), text.size());
    if (begin > at) out.parts_.push_back({std::string(text.substr(at, begin - at)), std::nullopt, at});
    if (begin == text.size()) break;
    auto inside = begin + opening.size();
    auto end = end_of_expression(text, inside);
    if (end == text.npos) {
      errors.push_back({begin, "'${{' without its '}}'", "close it, or write ${{ '${{' }} for the text itself"});
      break;
    }
    if (auto expression = Expression::parse(text.substr(inside, end - inside))) {
      out.parts_.push_back({std::string(text.substr(inside, end - inside)), *std::move(expression), inside});
    } else {
      expression.error().offset += inside;
      errors.push_back(std::move(expression).error());
    }
    at = end + closing.size();
  }
  return out;
}

std::expected<Template, ExpressionError> Template::parse(std::string_view text) {
  std::vector<ExpressionError> errors;
  auto out = parse_all(text, errors);
  if (!errors.empty()) return std::unexpected(std::move(errors.front()));
  return out;
}

std::size_t Template::expressions() const {
  return std::size_t(std::ranges::count_if(parts_, [](const Part& part) { return part.expression.has_value(); }));
}

std::string_view condition_body(std::string_view text) {
  auto inner = trimmed(text);
  if (inner.starts_with(opening) && end_of_expression(inner, opening.size()) == inner.size() - closing.size())
    inner = inner.substr(opening.size(), inner.size() - opening.size() - closing.size());
  return inner;
}

std::expected<Expression, ExpressionError> parse_condition(std::string_view text) {
  auto body = condition_body(text);
  if (trimmed(text).empty()) return Expression::parse("success()");
  auto expression = Expression::parse(body);
  if (!expression) expression.error().offset += std::size_t(body.data() - text.data());
  return expression;
}

Result<bool> evaluate_condition(std::string_view text, const ExpressionContext& context) {
  auto expression = parse_condition(text);
  if (!expression) return std::unexpected(as_error(expression.error(), text));
  if (!expression->asks_standing() && context.standing != Standing::success) return false;
  TRY_ASSIGN(auto answer, evaluate(*expression, context));
  if (!answer.truth) return not_known(text);
  return *answer.truth;
}

Result<Interpolation> interpolate_known(const Template& source, const ExpressionContext& context) {
  Interpolation plain, as_source;
  for (auto& part : source.parts()) {
    if (!part.expression) {
      plain.text += part.text;
      as_source.text += part.text;
      continue;
    }
    TRY_ASSIGN(auto answer, evaluate(*part.expression, context));
    if (answer.value) {
      auto value = to_string(*answer.value);
      plain.text += value;
      as_source.text += as_template(value);
    } else {
      as_source.complete = false;
      as_source.text += std::string(opening) + part.text + std::string(closing);
    }
  }
  return as_source.complete ? plain : as_source;
}

Result<std::string> interpolate(std::string_view text, const ExpressionContext& context) {
  auto source = Template::parse(text);
  if (!source) return std::unexpected(as_error(source.error(), text));
  TRY_ASSIGN(auto out, interpolate_known(*source, context));
  if (!out.complete) return not_known(text);
  return std::move(out.text);
}

std::string as_template(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    auto begin = std::min(text.find(opening, at), text.size());
    out += text.substr(at, begin - at);
    if (begin < text.size()) out += "${{ '${{' }}";
    at = begin + opening.size();
  }
  return out;
}

}  // namespace mayfly
