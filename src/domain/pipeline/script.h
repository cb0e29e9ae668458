#pragma once
// `${{ … }}` in a `run`. Nothing that comes from outside the file (branch names, inputs, outputs of jobs) is ever pasted
// into a shell: such an expression becomes a variable of the step's environment and a quoted reference to it. Values of
// the matrix written in the file are pasted, they are the author's own words.

#include <set>
#include <string>
#include <string_view>

#include "domain/pipeline/expression.h"

namespace mayfly {

struct Script {
  std::string text;
  Env variables;  // CI_EXPR_1 …: templates, needs.* left in them
};

struct ScriptOptions {
  bool posix_shell = true;                  // false: there is no `${NAME}` to refer to a variable with
  std::set<std::string> outside_axes;       // of the matrix whose values come from outside the file
  std::set<std::string> taken;              // names of variables that are in use
};

/// Errors have their offset in the whole text.
std::expected<Script, ExpressionError> write_script(const Template&, const ExpressionContext&, const ScriptOptions&);

/// Whether a step's `shell` ("" too) expands `${NAME}`.
bool is_posix_shell(std::string_view shell);

}  // namespace mayfly
