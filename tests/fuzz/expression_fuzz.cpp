// Any bytes as an expression, a template and a script.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "domain/pipeline/expression.h"
#include "domain/pipeline/script.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  ExpressionContext context{.event = {.ref = "refs/heads/x", .inputs = {{"c", "2"}}, .file_hashes = {{"a", "b"}}},
                            .env = {{"B", "1"}},
                            .matrix = {{"a", "1"}},
                            .needs = {{"build", {"succeeded", {{"x", "${{ y }}"}}}}}};
  (void)evaluate_condition(text, context);
  if (interpolate(as_template(text), context) != std::string(text)) std::abort();
  auto source = Template::parse(text);
  if (!source) return 0;
  (void)interpolate(text, context);
  auto early = context;
  early.needs.clear();
  early.standing = std::nullopt;
  if (auto first = interpolate_known(*source, early)) {
    auto both = interpolate(first->complete ? as_template(first->text) : first->text, context);
    auto at_once = interpolate(text, context);
    bool asks_standing = text.contains("success") || text.contains("failure");  // known late only
    if (!asks_standing && (both.has_value() != at_once.has_value() || (both && *both != *at_once))) std::abort();
  }
  (void)write_script(*source, early, {});
  return 0;
}
