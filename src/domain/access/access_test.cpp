#include "domain/access/access.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

TEST(Access, EachRoleMayWhatTheOneBeforeItMay) {
  EXPECT_TRUE(may(Role::viewer, Action::read));
  EXPECT_FALSE(may(Role::viewer, Action::trigger_build));
  EXPECT_TRUE(may(Role::developer, Action::trigger_build));
  EXPECT_FALSE(may(Role::developer, Action::write_secret));
  EXPECT_TRUE(may(Role::maintainer, Action::write_secret));
  EXPECT_FALSE(may(Role::maintainer, Action::create_token));
  EXPECT_FALSE(may(Role::maintainer, Action::manage_pools));
  for (auto action : {Action::read, Action::trigger_build, Action::change_project, Action::write_secret, Action::create_token, Action::ship_logs, Action::manage_pools})
    EXPECT_TRUE(may(Role::owner, action));
}

TEST(Access, AShipperSendsLogsAndMayNothingElse) {
  EXPECT_TRUE(may(Role::shipper, Action::ship_logs));
  for (auto action : {Action::read, Action::trigger_build, Action::change_project, Action::write_secret, Action::create_token, Action::manage_pools})
    EXPECT_FALSE(may(Role::shipper, action));
  EXPECT_FALSE(may(Role::maintainer, Action::ship_logs));
}

TEST(Access, ATokenIsRecognisedByItsHash) {
  auto token = token_text(std::string(32, '\x01'));
  EXPECT_TRUE(token.starts_with("mfy_"));
  EXPECT_EQ(token.size(), 4u + 43u);
  EXPECT_EQ(token_hash(token), token_hash(token));
  EXPECT_NE(token_hash(token), token_hash(token + "x"));
}

}  // namespace
}  // namespace mayfly
