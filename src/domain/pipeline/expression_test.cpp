#include "domain/pipeline/expression.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

ExpressionContext context() {
  return {.event = {.event = "push", .ref = "refs/heads/main", .sha = "abc", .inputs = {{"dry", "true"}, {"level", "3"}}, .file_hashes = {{"a/*", "a/x 1\n"}, {"none", ""}}},
          .env = {{"NAME", "value"}, {"EMPTY", ""}},
          .matrix = {{"shard", "2"}, {"db", "postgres:15"}},
          .needs = {{"build", {"succeeded", {{"version", "1.2"}}}}, {"test (1)", {"succeeded", {{"n", "1"}}}}, {"test (2)", {"failed", {{"n", "2"}}}}}};
}

std::string value(std::string_view text) {
  auto expression = Expression::parse(text);
  if (!expression) return "at " + std::to_string(expression.error().offset) + ": " + expression.error().message;
  auto answer = evaluate(*expression, context());
  if (!answer) return "error: " + answer.error().message;
  return answer->value ? to_string(*answer->value) : "unknown";
}

TEST(Expression, KnowsWhatHappened) {
  EXPECT_EQ(value("event"), "push");
  EXPECT_EQ(value("ref"), "refs/heads/main");
  EXPECT_EQ(value("branch"), "main");
  EXPECT_EQ(value("tag"), "");
  EXPECT_EQ(value("sha"), "abc");
  EXPECT_EQ(value("inputs.level"), "3");
  EXPECT_EQ(value("env.NAME"), "value");
  EXPECT_EQ(value("env.OTHER"), "");
  EXPECT_EQ(value("matrix.db"), "postgres:15");
}

TEST(Expression, GathersTheJobsOfAMatrix) {
  EXPECT_EQ(value("needs.build.status"), "succeeded");
  EXPECT_EQ(value("needs.build.outputs.version"), "1.2");
  EXPECT_EQ(value("needs.build.outputs.other"), "");
  EXPECT_EQ(value("needs.test.status"), "failed");
  EXPECT_EQ(value("needs.test.outputs.n"), "2");
  EXPECT_EQ(value("needs.tes.status"), "unknown");
}

TEST(Expression, ComparesByValueNotByNotation) {
  EXPECT_EQ(value("matrix.shard == 2"), "true");
  EXPECT_EQ(value("matrix.shard == '2'"), "true");
  EXPECT_EQ(value("matrix.shard != 2.0"), "false");
  EXPECT_EQ(value("'2.0' == matrix.shard"), "false");
  EXPECT_EQ(value("inputs.dry == true"), "true");
  EXPECT_EQ(value("true == 1"), "false");
  EXPECT_EQ(value("matrix.shard < 10"), "true");
  EXPECT_EQ(value("'9' <= '10'"), "true");
  EXPECT_EQ(value("-1.5 > -2"), "true");
  EXPECT_EQ(value("3 >= 3"), "true");
  EXPECT_EQ(value("branch < 'x'"), "error: 'main' is not a number, so it cannot be ordered");
}

TEST(Expression, BindsAsEverybodyExpects) {
  EXPECT_EQ(value("true || false && false"), "true");
  EXPECT_EQ(value("(true || false) && false"), "false");
  EXPECT_EQ(value("!false && !(1 == 2)"), "true");
  EXPECT_EQ(value("!branch == false"), "true");
}

TEST(Expression, GivesTheOperandThatDecided) {
  EXPECT_EQ(value("tag && 'release' || 'dev'"), "dev");
  EXPECT_EQ(value("branch && 'release' || 'dev'"), "release");
  EXPECT_EQ(value("env.EMPTY || 'fallback'"), "fallback");
}

TEST(Expression, HasAFewFunctions) {
  EXPECT_EQ(value("contains(ref, 'heads')"), "true");
  EXPECT_EQ(value("starts_with(branch, 'ma') && ends_with(branch, 'in')"), "true");
  EXPECT_EQ(value("starts_with(branch, 'x')"), "false");
  EXPECT_EQ(value("hash_files('a/*')").size(), 64u);
  EXPECT_NE(value("hash_files('a/*')"), value("hash_files('a/*', 'a/*')"));
  EXPECT_EQ(value("hash_files('none')"), "");
  EXPECT_EQ(value("hash_files('b')"), "error: the files of hash_files('b') are not known here");
}

TEST(Expression, QuotesTextBothWays) {
  EXPECT_EQ(value("'it''s'"), "it's");
  EXPECT_EQ(value("\"a\"\"b\""), "a\"b");
  EXPECT_EQ(value("1.50"), "1.5");
}

TEST(Expression, SaysWhereItGoesWrong) {
  EXPECT_EQ(value(""), "at 0: the expression is empty");
  EXPECT_EQ(value("ref =="), "at 6: the expression ends too early");
  EXPECT_EQ(value("ref = 'x'"), "at 4: unexpected '='");
  EXPECT_EQ(value("ref & sha"), "at 4: unexpected '&'");
  EXPECT_EQ(value("(ref"), "at 4: a ')' is missing");
  EXPECT_EQ(value("'abc"), "at 0: the text that begins with ' does not end");
  EXPECT_EQ(value("secrets.TOKEN"), "at 0: unknown name 'secrets'");
  EXPECT_EQ(value("needs.a"), "at 0: 'needs.a' is not a value");
  EXPECT_EQ(value("ref.x"), "at 0: 'ref' has no parts");
  EXPECT_EQ(value("1 < 2 < 3"), "at 6: comparisons do not chain");
  EXPECT_EQ(value("12abc"), "at 0: not a number");
  EXPECT_EQ(value("contains('a')"), "at 0: contains() takes 2 arguments, not 1");
  EXPECT_EQ(value("ref sha"), "at 4: unexpected 'sha'");
  EXPECT_EQ(value("env.A-B == env[0]"), "at 14: unexpected '['");
}

TEST(Expression, HasLimits) {
  EXPECT_EQ(value(std::string(64, '(') + "1" + std::string(64, ')')), "1");
  EXPECT_EQ(value(std::string(65, '(') + "1" + std::string(65, ')')), "at 65: the expression is nested deeper than 64 levels");
  EXPECT_EQ(value(std::string(64, '!') + "true"), "true");
  EXPECT_EQ(value(std::string(65, '!') + "true"), "at 65: the expression is nested deeper than 64 levels");
  EXPECT_EQ(value("'" + std::string(4094, 'x') + "'").size(), 4094u);
  EXPECT_EQ(value("'" + std::string(4095, 'x') + "'"), "at 0: the expression is longer than 4096 bytes");
}

TEST(Condition, MeansSuccessUnlessItAsks) {
  auto now = context();
  EXPECT_EQ(evaluate_condition("", now), true);
  EXPECT_EQ(evaluate_condition("branch == 'main'", now), true);
  EXPECT_EQ(evaluate_condition(" ${{ branch == 'main' }} ", now), true);
  EXPECT_EQ(evaluate_condition("failure()", now), false);
  for (auto standing : {Standing::failure, Standing::canceled}) {
    now.standing = standing;
    EXPECT_EQ(evaluate_condition("", now), false);
    EXPECT_EQ(evaluate_condition("branch == 'main'", now), false);
    EXPECT_EQ(evaluate_condition("failure() || success()", now), standing == Standing::failure);
    EXPECT_EQ(evaluate_condition("always() && branch == 'main'", now), true);
  }
  now.standing = Standing::success;
  EXPECT_FALSE(evaluate_condition("needs.nobody.status == 'failed'", now));
  EXPECT_FALSE(evaluate_condition("branch ==", now));
}

TEST(Condition, IsDecidedAsSoonAsItCanBe) {
  auto early = context();
  early.needs.clear();
  early.standing = std::nullopt;
  auto truth = [&](std::string_view text) { return evaluate(*Expression::parse(text), early)->truth; };
  EXPECT_EQ(truth("needs.a.status == 'failed' && branch == 'other'"), false);
  EXPECT_EQ(truth("needs.a.status == 'failed' || branch == 'main'"), true);
  EXPECT_EQ(truth("needs.a.status == 'failed' && branch == 'main'"), std::nullopt);
  EXPECT_EQ(truth("success()"), std::nullopt);
  EXPECT_EQ(evaluate(*Expression::parse("needs.a.status && ''"), early)->value, std::nullopt) << "false it is, but which false is not known";
  EXPECT_EQ(truth("always()"), true);
  EXPECT_EQ(truth("!needs.a.status"), std::nullopt);
  early.later_env.insert("NAME");
  EXPECT_EQ(truth("env.NAME == 'value'"), std::nullopt);
}

TEST(Interpolation, ReplacesWhatIsInBraces) {
  EXPECT_EQ(interpolate("on ${{ branch }}/${{matrix.shard}}!", context()), "on main/2!");
  EXPECT_EQ(interpolate("a }} b", context()), "a }} b");
  EXPECT_EQ(interpolate("${{ '}}' }}", context()), "}}");
  EXPECT_FALSE(interpolate("${{ branch ", context()));
  EXPECT_FALSE(interpolate("${{ needs.nobody.status }}", context()));
}

TEST(Interpolation, LeavesOnlyWhatIsNotKnown) {
  auto early = context();
  early.needs.clear();
  early.event.ref = "refs/heads/${{ sha }}";
  auto source = *Template::parse("${{ branch }} ${{ needs.build.outputs.version }}");
  auto first = *interpolate_known(source, early);
  EXPECT_FALSE(first.complete);
  EXPECT_EQ(first.text, "${{ '${{' }} sha }} ${{ needs.build.outputs.version }}");
  EXPECT_EQ(interpolate(first.text, context()), "${{ sha }} 1.2") << "a branch's name is never evaluated";
}

}  // namespace
}  // namespace mayfly
