#include "domain/pipeline/script.h"

#include <algorithm>
#include <map>

namespace mayfly {
namespace {

using Op = Expression::Op;

/// Where in a shell script one stands, as far as quoting goes. An error here can spoil how a value is split into words,
/// never make it run.
class Quoting {
 public:
  enum class Place { bare, single, doubled, comment, document, quoted_document };

  Place place() const { return place_; }

  void feed(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) i += take(text, i);
  }

  /// Something that is expanded later stands here: a word goes on.
  void feed_value() { word_begins_ = false; }

 private:
  /// Takes the byte at `i`; answers how many more it took.
  std::size_t take(std::string_view text, std::size_t i) {
    char c = text[i];
    switch (place_) {
      case Place::single:
        if (c == '\'') place_ = Place::bare;
        return 0;
      case Place::doubled:
        if (c == '\\') return skip(text, i);
        if (c == '"') place_ = Place::bare;
        return 0;
      case Place::document:
      case Place::quoted_document: return document_byte(c);
      case Place::comment:
        if (c == '\n') end_line();
        return 0;
      case Place::bare: return bare_byte(text, i);
    }
    return 0;
  }

  static std::size_t skip(std::string_view text, std::size_t i) { return i + 1 < text.size() ? 1 : 0; }

  std::size_t bare_byte(std::string_view text, std::size_t i) {
    char c = text[i];
    bool begins = std::exchange(word_begins_, c == ' ' || c == '\t' || c == ';' || c == '&' || c == '|' || c == '(');
    if (c == '\n') end_line();
    else if (c == '\\') return skip(text, i);
    else if (c == '\'') place_ = Place::single;
    else if (c == '"') place_ = Place::doubled;
    else if (c == '#' && begins) place_ = Place::comment;
    else if (text.substr(i).starts_with("<<<")) return 2;
    else if (text.substr(i).starts_with("<<")) return 1 + here_document(text.substr(i + 2));
    return 0;
  }

  void end_line() {
    word_begins_ = true;
    place_ = delimiter_.empty() ? Place::bare : delimiter_quoted_ ? Place::quoted_document : Place::document;
    line_.clear();
  }

  /// After "<<": remembers the word that will end it.
  std::size_t here_document(std::string_view rest) {
    std::size_t i = 0;
    strip_tabs_ = rest.starts_with("-");
    if (strip_tabs_) ++i;
    while (i < rest.size() && (rest[i] == ' ' || rest[i] == '\t')) ++i;
    delimiter_.clear();
    delimiter_quoted_ = false;
    for (; i < rest.size() && !std::string_view(" \t\n;&|<>()").contains(rest[i]); ++i) {
      if (rest[i] == '\'' || rest[i] == '"' || rest[i] == '\\') delimiter_quoted_ = true;
      else delimiter_ += rest[i];
    }
    return i;
  }

  std::size_t document_byte(char c) {
    if (c != '\n') {
      if (!(strip_tabs_ && line_.empty() && c == '\t')) line_ += c;
      return 0;
    }
    if (line_ == delimiter_) {
      delimiter_.clear();
      place_ = Place::bare;
    }
    line_.clear();
    return 0;
  }

  Place place_ = Place::bare;
  bool word_begins_ = true;
  std::string delimiter_;
  bool delimiter_quoted_ = false;
  bool strip_tabs_ = false;
  std::string line_;
};

/// Whether the file alone decides the value.
bool is_of_the_file(const Expression& expression, const std::set<std::string>& outside_axes) {
  return std::ranges::all_of(expression.terms(), [&](const Expression::Term& term) {
    if (term.op == Op::call) return term.path[0] == "contains" || term.path[0] == "starts_with" || term.path[0] == "ends_with";
    return term.op != Op::name || (term.path[0] == "matrix" && !outside_axes.contains(term.path[1]));
  });
}

std::string reference(const std::string& variable, Quoting::Place place) {
  auto plain = "${" + variable + "}";
  switch (place) {
    case Quoting::Place::bare: return "\"" + plain + "\"";
    case Quoting::Place::single: return "'\"" + plain + "\"'";
    default: return plain;
  }
}

class Writer {
 public:
  Writer(const ExpressionContext& context, const ScriptOptions& options) : context_(context), options_(options) {}

  std::expected<Script, ExpressionError> write(const Template& source) {
    quoting_matters_ = std::ranges::any_of(source.parts(), [&](auto& part) { return part.expression && !is_of_the_file(*part.expression, options_.outside_axes); });
    for (auto& part : source.parts()) {
      if (!part.expression) paste(part.text);
      else if (auto error = expression(part)) return std::unexpected(*std::move(error));
    }
    return std::move(out_);
  }

 private:
  void paste(std::string_view text) {
    out_.text += text;
    if (quoting_matters_) quoting_.feed(text);
  }

  std::optional<ExpressionError> expression(const Template::Part& part) {
    if (is_of_the_file(*part.expression, options_.outside_axes)) {
      auto answer = evaluate(*part.expression, context_);
      if (!answer) return ExpressionError{part.offset, answer.error().message, answer.error().hint};
      paste(to_string(*answer->value));
      return std::nullopt;
    }
    if (!options_.posix_shell) return ExpressionError{part.offset, "values from outside are never pasted into a script", "set a variable under env: and read it from the environment"};
    if (quoting_.place() == Quoting::Place::quoted_document)
      return ExpressionError{part.offset, "nothing is expanded in a here-document with a quoted delimiter", "remove the quotes around the delimiter, or read a variable set under env:"};
    std::string variable;
    if (auto error = variable_for(part, variable)) return error;
    out_.text += reference(variable, quoting_.place());
    quoting_.feed_value();
    return std::nullopt;
  }

  std::optional<ExpressionError> variable_for(const Template::Part& part, std::string& variable) {
    auto& root = part.expression->root();
    if (root.op == Op::name && root.path[0] == "env") {
      variable = root.path[1];
      return std::nullopt;
    }
    auto& known = variables_[part.text];
    if (known.empty()) {
      auto answer = evaluate(*part.expression, context_);
      if (!answer) return ExpressionError{part.offset, answer.error().message, answer.error().hint};
      known = free_name();
      out_.variables[known] = answer->value ? as_template(to_string(*answer->value)) : "${{" + part.text + "}}";
    }
    variable = known;
    return std::nullopt;
  }

  std::string free_name() {
    std::string name;
    do name = "CI_EXPR_" + std::to_string(++count_);
    while (options_.taken.contains(name));
    return name;
  }

  const ExpressionContext& context_;
  const ScriptOptions& options_;
  Script out_;
  Quoting quoting_;
  bool quoting_matters_ = false;
  std::map<std::string, std::string> variables_;  // by expression
  int count_ = 0;
};

}  // namespace

std::expected<Script, ExpressionError> write_script(const Template& source, const ExpressionContext& context, const ScriptOptions& options) {
  return Writer(context, options).write(source);
}

bool is_posix_shell(std::string_view shell) {
  auto slash = shell.rfind('/');
  auto program = slash == shell.npos ? shell : shell.substr(slash + 1);
  for (std::string_view known : {"", "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
    if (program == known) return true;
  return false;
}

}  // namespace mayfly
