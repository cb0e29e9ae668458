#include "domain/pipeline/suggest.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

constexpr std::string_view words[] = {"steps", "needs", "runs_on", "if", "image"};

TEST(Suggestion, IsTheNearestWordIfOneIsNear) {
  EXPECT_EQ(nearest("stpes", words), "steps");
  EXPECT_EQ(nearest("step", words), "steps");
  EXPECT_EQ(nearest("runs-on", words), "runs_on");
  EXPECT_EQ(nearest("Image", words), "image");
  EXPECT_EQ(nearest("fi", words), "if");
  EXPECT_EQ(nearest("services", words), "");
  EXPECT_EQ(nearest("", words), "");
}

TEST(Suggestion, ListsWhatThereIsOtherwise) {
  EXPECT_EQ(suggestion("stpes", words), "did you mean 'steps'?");
  EXPECT_EQ(suggestion("xyz", words), "known: steps, needs, runs_on, if or image");
  EXPECT_EQ(suggestion("xyz", {}), "");
}

}  // namespace
}  // namespace mayfly
