#include "adapters/kafka/positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly::kafka {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(Positions, GrowByOneAcrossPartitions) {
  Positions p;
  EXPECT_EQ(p.add(0, 100), 1);
  EXPECT_EQ(p.add(3, 7), 2);
  EXPECT_EQ(p.add(0, 101), 3);
}

TEST(Positions, ACommitCoversWhatWasPolledUpToThereInEachPartition) {
  Positions p;
  p.add(0, 100);
  p.add(1, 7);
  p.add(1, 8);
  p.add(0, 101);
  EXPECT_THAT(p.up_to(0), IsEmpty());
  EXPECT_THAT(p.up_to(1), ElementsAre(Pair(0, 101)));
  EXPECT_THAT(p.up_to(2), ElementsAre(Pair(0, 101), Pair(1, 8)));
  EXPECT_THAT(p.up_to(4), ElementsAre(Pair(0, 102), Pair(1, 9)));
  EXPECT_THAT(p.up_to(99), ElementsAre(Pair(0, 102), Pair(1, 9)));
}

TEST(Positions, GapsBetweenOffsetsAreKept) {
  Positions p;
  p.add(0, 10);
  p.add(0, 15);
  EXPECT_THAT(p.up_to(1), ElementsAre(Pair(0, 11)));
  EXPECT_THAT(p.up_to(2), ElementsAre(Pair(0, 16)));
}

TEST(Positions, WhatIsCommittedIsNotCommittedAgain) {
  Positions p;
  for (int i = 0; i < 5; ++i) p.add(0, 100 + i);
  p.add(1, 0);
  p.committed(3);
  EXPECT_THAT(p.up_to(3), IsEmpty());
  EXPECT_THAT(p.up_to(4), ElementsAre(Pair(0, 104)));
  p.committed(2);
  EXPECT_THAT(p.up_to(4), ElementsAre(Pair(0, 104))) << "backwards changes nothing";
  p.committed(6);
  EXPECT_THAT(p.up_to(6), IsEmpty());
  EXPECT_EQ(p.add(1, 1), 7);
  EXPECT_THAT(p.up_to(7), ElementsAre(Pair(1, 2)));
}

TEST(Positions, WhatWasGivenBackIsNotCommitted) {
  Positions p;
  p.add(0, 5);
  p.drop();
  EXPECT_EQ(p.add(0, 5), 2) << "positions still grow";
  EXPECT_THAT(p.up_to(1), IsEmpty());
  EXPECT_THAT(p.up_to(2), ElementsAre(Pair(0, 6)));
}

TEST(Positions, NoMoreStretchesThanTheLimitAreRemembered) {
  Positions p;
  for (std::size_t i = 0; i < max_stretches; ++i) p.add(std::int32_t(i % 2), std::int64_t(i));
  EXPECT_THAT(p.up_to(1), ElementsAre(Pair(0, 1))) << "at the limit all are there";
  auto last = p.add(0, std::int64_t(max_stretches));
  EXPECT_THAT(p.up_to(1), IsEmpty()) << "one past it the oldest is gone";
  EXPECT_THAT(p.up_to(last), ElementsAre(Pair(0, std::int64_t(max_stretches) + 1), Pair(1, std::int64_t(max_stretches))));
}

}  // namespace
}  // namespace mayfly::kafka
