#include "runner/init/last_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly {
namespace {

using testing::ElementsAre;

TEST(LastLines, KeepsTheLastOnesWhateverPiecesTheyComeIn) {
  LastLines kept(2, 10);
  for (auto piece : {"o", "ne\ntw", "o\r\n\nth", "ree"}) kept.feed(piece);
  EXPECT_THAT(kept.lines(), ElementsAre("", "three"));
}

TEST(LastLines, CutsALineAtItsLimitAndNotBefore) {
  LastLines kept(3, 4);
  kept.feed("1234\n12345\n");
  kept.feed(std::string(1 << 20, 'x'));
  EXPECT_THAT(kept.lines(), ElementsAre("1234", "1234…", "xxxx…"));
}

TEST(LastLines, AreUtf8) {
  LastLines kept(1, 10);
  kept.feed("a\xff");
  EXPECT_THAT(kept.lines(), ElementsAre("a\uFFFD"));
}

}  // namespace
}  // namespace mayfly
