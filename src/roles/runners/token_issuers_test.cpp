#include "roles/runners/token_issuers.h"

#include <gtest/gtest.h>

#include "roles/schema.h"
#include "support/run.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

TEST(TokenIssuers, TheLastThatAPoolsKeeperLearnedIsWhatGatewaysRead) {
  VirtualClock clock;
  TestLoop loop(clock);
  auto db = make_test_database(schema());
  EXPECT_EQ(loop.run(token_issuer_of(*db, "cluster")).value(), std::nullopt);
  TokenIssuer first{"https://cluster.example", R"({"keys": [{"kid": "a"}]})", "mayfly-runners", "mayfly-runner"};
  auto second = first;
  second.jwks = R"({"keys": [{"kid": "a"}, {"kid": "b"}]})";
  ASSERT_TRUE(loop.run(db->transact({store_token_issuer("cluster", first, clock.now())})));
  EXPECT_EQ(loop.run(token_issuer_of(*db, "cluster")).value(), first);
  ASSERT_TRUE(loop.run(db->transact({store_token_issuer("cluster", second, clock.now())})));
  EXPECT_EQ(loop.run(token_issuer_of(*db, "cluster")).value(), second);
  EXPECT_EQ(loop.run(token_issuer_of(*db, "other")).value(), std::nullopt);
}

}  // namespace
}  // namespace mayfly
