#include "adapters/sandbox/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

MachineFacts a_complete_machine() {
  MachineFacts facts{true, true, true, true, true, true, true, true, {}};
  facts.cgroups.unified = "/sys/fs/cgroup";
  facts.cgroups.unified_limits = true;
  return facts;
}

TEST(Probe, ACompleteMachineLacksNothing) { EXPECT_THAT(shortfalls(a_complete_machine()), IsEmpty()); }

TEST(Probe, AHybridMachineLacksNothingEither) {
  auto facts = a_complete_machine();
  facts.cgroups = {.unified = "/u", .memory = "/m", .cpu = "/c", .pids = "/p", .unified_limits = false};
  EXPECT_THAT(shortfalls(facts), IsEmpty());
  facts.cgroups.memory = "";
  EXPECT_THAT(shortfalls(facts), testing::ElementsAre(HasSubstr("memory limits do not hold")));
}

TEST(Probe, EachThingThatLacksIsNamed) {
  EXPECT_EQ(shortfalls(MachineFacts{}).size(), 11u);
  auto facts = a_complete_machine();
  facts.slirp4netns = false;
  EXPECT_THAT(shortfalls(facts), testing::ElementsAre(HasSubstr("slirp4netns")));
}

TEST(Probe, KnowsWhoWeAre) { EXPECT_EQ(probe_machine().root, geteuid() == 0); }

}  // namespace
}  // namespace mayfly
