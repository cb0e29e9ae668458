#include "domain/pipeline/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

using testing::ElementsAre;

std::vector<std::string> names(const MatrixAxes& matrix) {
  std::vector<std::string> out;
  for (auto& combination : expand_matrix(matrix)) out.push_back(matrix_job_name("j", combination));
  return out;
}

TEST(Matrix, CountsLikeAnOdometer) {
  EXPECT_THAT(names({.axes = {{"a", {"1", "2"}}, {"b", {"x", "y"}}}, .exclude = {}, .include = {}}), ElementsAre("j (1, x)", "j (1, y)", "j (2, x)", "j (2, y)"));
}

TEST(Matrix, ExcludesByAnyOfItsAxes) {
  EXPECT_THAT(names({.axes = {{"a", {"1", "2"}}, {"b", {"x", "y"}}}, .exclude = {{{"a", "1"}, {"b", "x"}}, {{"b", "y"}}}, .include = {}}), ElementsAre("j (2, x)"));
}

// The example of GitHub's documentation of `include`, by meaning.
TEST(Matrix, IncludesAsGitHubDoes) {
  MatrixAxes matrix{.axes = {{"fruit", {"apple", "pear"}}, {"animal", {"cat", "dog"}}},
                    .exclude = {},
                    .include = {{{"color", "green"}},
                                {{"color", "pink"}, {"animal", "cat"}},
                                {{"fruit", "apple"}, {"shape", "circle"}},
                                {{"fruit", "banana"}},
                                {{"fruit", "banana"}, {"animal", "cat"}}}};
  EXPECT_THAT(names(matrix), ElementsAre("j (apple, cat, pink, circle)", "j (apple, dog, green, circle)", "j (pear, cat, pink)", "j (pear, dog, green)", "j (banana)",
                                         "j (banana, cat)"));
}

TEST(Matrix, MayConsistOfIncludesOnly) {
  EXPECT_THAT(names({.axes = {}, .exclude = {}, .include = {{{"a", "1"}}, {{"b", "2"}, {"a", "3"}}}}), ElementsAre("j (1)", "j (2, 3)"));
}

TEST(Matrix, IsCountedBeforeItIsMade) {
  std::vector<std::string> thousand(1000, "v");
  MatrixAxes matrix;
  for (int i = 0; i < 30; ++i) matrix.axes.emplace_back("a" + std::to_string(i), thousand);
  EXPECT_EQ(combinations_of_axes(matrix, 1000), 1001u);
  matrix.axes.resize(1);
  EXPECT_EQ(combinations_of_axes(matrix, 1000), 1000u);
}

}  // namespace
}  // namespace mayfly
