#include "domain/pipeline/isolation.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace mayfly {
namespace {

using enum Isolation;

TEST(Isolations, EveryWordIsReadBack) {
  for (auto isolation : {sandbox, runc, gvisor, kata}) EXPECT_EQ(isolation_from(to_string(isolation)), isolation);
  EXPECT_EQ(isolation_from("gvsior"), std::nullopt);
  EXPECT_EQ(isolation_from(""), std::nullopt);
}

TEST(Isolations, SandboxAndRuncAreOneWallAndGvisorIsBelowKata) {
  EXPECT_TRUE(at_least(sandbox, runc) && at_least(runc, sandbox));
  EXPECT_TRUE(at_least(gvisor, runc) && !at_least(runc, gvisor));
  EXPECT_TRUE(at_least(kata, gvisor) && !at_least(gvisor, kata));
}

TEST(Isolations, AJobThatAsksForNothingGetsTheWeakestAboveTheFloor) {
  EXPECT_EQ(weakest({sandbox, gvisor}, std::nullopt, sandbox), sandbox);
  EXPECT_EQ(weakest({sandbox, gvisor}, std::nullopt, gvisor), gvisor);
  EXPECT_EQ(weakest({gvisor, runc}, std::nullopt, sandbox), runc);
  EXPECT_EQ(weakest({sandbox}, std::nullopt, gvisor), std::nullopt);
  EXPECT_EQ(weakest({}, std::nullopt, sandbox), std::nullopt);
}

TEST(Isolations, AWordIsServedByItselfOrByAnEquallyStrongOrStrongerOne) {
  EXPECT_EQ(weakest({sandbox, runc}, runc, sandbox), runc);
  EXPECT_EQ(weakest({sandbox}, runc, sandbox), sandbox);
  EXPECT_EQ(weakest({sandbox, kata}, gvisor, sandbox), kata);
  EXPECT_EQ(weakest({sandbox, gvisor}, sandbox, gvisor), gvisor) << "no wish goes below a floor";
  EXPECT_EQ(weakest({runc, gvisor}, kata, sandbox), std::nullopt);
}

TEST(Isolations, NothingEverRunsBelowAFloorOrAWishNorStrongerThanItMust) {
  auto any = [] { return *rc::gen::element(sandbox, runc, gvisor, kata); };
  EXPECT_TRUE(rc::check("the weakest that is allowed", [&] {
    std::vector<Isolation> offered;
    for (int i = *rc::gen::inRange(0, 5); i > 0; --i) offered.push_back(any());
    auto wish = *rc::gen::arbitrary<bool>() ? std::optional(any()) : std::nullopt;
    auto floor = any();
    auto allowed = [&](Isolation i) { return at_least(i, floor) && (!wish || at_least(i, *wish)); };
    auto got = weakest(offered, wish, floor);
    RC_ASSERT(got.has_value() == std::ranges::any_of(offered, allowed));
    if (!got) return;
    RC_ASSERT(std::ranges::find(offered, *got) != offered.end());
    RC_ASSERT(allowed(*got));
    for (auto other : offered) RC_ASSERT(!allowed(other) || at_least(other, *got));
    if (wish && std::ranges::find(offered, *wish) != offered.end() && at_least(*wish, floor)) RC_ASSERT(*got == *wish);
  }));
}

}  // namespace
}  // namespace mayfly
