#include "contract/secrets_contract.h"

#include <gmock/gmock.h>

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SecretsContract);

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Result<void> SecretsContract::set(ProjectId project, std::string name, std::string value) {
  return loop.run(place->secrets().set(project, {std::move(name), std::move(value)}));
}

Result<std::vector<Secret>> SecretsContract::read(ProjectId project, std::vector<std::string> names) {
  return loop.run(place->secrets().read(project, std::move(names)));
}

std::string SecretsContract::value(ProjectId project, std::string name) {
  auto found = read(project, {std::move(name)});
  return found ? found->at(0).value : "<" + std::string(to_string(found.error().code)) + ">";
}

std::vector<std::string> SecretsContract::names(ProjectId project) {
  auto found = loop.run(place->secrets().names(project));
  EXPECT_TRUE(found) << found.error().message;
  return found.value_or(std::vector<std::string>{"<error>"});
}

TEST_P(SecretsContract, AValueIsReadByItsName) {
  ASSERT_TRUE(set(a, "TOKEN", "hunter2"));
  EXPECT_EQ(value(a, "TOKEN"), "hunter2");
}

TEST_P(SecretsContract, ALaterValueTakesThePlaceOfAnEarlier) {
  ASSERT_TRUE(set(a, "TOKEN", "one"));
  ASSERT_TRUE(set(a, "TOKEN", "two"));
  EXPECT_EQ(value(a, "TOKEN"), "two");
  EXPECT_THAT(names(a), ElementsAre("TOKEN"));
}

TEST_P(SecretsContract, ProjectsDoNotSeeEachOthers) {
  ASSERT_TRUE(set(a, "TOKEN", "of a"));
  EXPECT_EQ(value(b, "TOKEN"), "<not_found>");
  EXPECT_THAT(names(b), IsEmpty());
  ASSERT_TRUE(set(b, "TOKEN", "of b"));
  EXPECT_EQ(value(a, "TOKEN"), "of a");
  EXPECT_EQ(value(b, "TOKEN"), "of b");
}

TEST_P(SecretsContract, SeveralComeInTheOrderAskedFor) {
  for (auto* name : {"A", "B", "C"}) ASSERT_TRUE(set(a, name, std::string("value of ") + name));
  auto found = read(a, {"C", "A", "C"});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].name, "C");
  EXPECT_EQ((*found)[0].value, "value of C");
  EXPECT_EQ((*found)[1].value, "value of A");
  EXPECT_EQ((*found)[2].value, "value of C");
  found = read(a, {});
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->empty());
}

TEST_P(SecretsContract, EveryMissingOneIsNamed) {
  ASSERT_TRUE(set(a, "PRESENT", "v"));
  auto found = read(a, {"ABSENT", "PRESENT", "GONE"});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::not_found);
  EXPECT_THAT(found.error().message, HasSubstr("ABSENT"));
  EXPECT_THAT(found.error().message, HasSubstr("GONE"));
  EXPECT_THAT(found.error().message, Not(HasSubstr("PRESENT")));
}

TEST_P(SecretsContract, NamesAreListedInOrder) {
  for (auto* name : {"b", "_", "A", "a1"}) ASSERT_TRUE(set(a, name, "v"));
  EXPECT_THAT(names(a), ElementsAre("A", "_", "a1", "b"));
}

TEST_P(SecretsContract, WhatIsRemovedIsGone) {
  ASSERT_TRUE(set(a, "TOKEN", "v"));
  EXPECT_TRUE(loop.run(place->secrets().remove(a, "TOKEN")));
  EXPECT_EQ(value(a, "TOKEN"), "<not_found>");
  EXPECT_THAT(names(a), IsEmpty());
  EXPECT_TRUE(loop.run(place->secrets().remove(a, "TOKEN"))) << "absent is success";
}

TEST_P(SecretsContract, ABadNameIsRefused) {
  std::string longest(max_secret_name, 'A');
  EXPECT_TRUE(set(a, longest, "v"));
  for (std::string bad : {std::string(), std::string("1A"), std::string("A-B"), std::string("A B"), std::string("A="),
                          std::string("É"), std::string("A\0B", 3), std::string("../A"), longest + "A"}) {
    auto done = set(a, bad, "v");
    ASSERT_FALSE(done) << bad;
    EXPECT_EQ(done.error().code, Errc::invalid) << bad;
    EXPECT_EQ(value(a, bad), "<invalid>") << bad;
    EXPECT_FALSE(loop.run(place->secrets().remove(a, bad))) << bad;
  }
}

TEST_P(SecretsContract, AValueMayBeAnythingAnEnvironmentCanHold) {
  std::string all;
  for (int c = 1; c < 128; ++c) all += char(c);
  all += "☃\n-----BEGIN KEY-----\n";
  ASSERT_TRUE(set(a, "ALL", all));
  EXPECT_EQ(value(a, "ALL"), all);
  for (std::string bad : {std::string(), std::string("a\0b", 3)}) {
    auto done = set(a, "BAD", bad);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::invalid);
  }
}

TEST_P(SecretsContract, AValueAtTheLimitFitsAndOneByteMoreDoesNot) {
  std::string largest(max_secret_bytes, 'x');
  ASSERT_TRUE(set(a, "LARGE", largest));
  EXPECT_EQ(value(a, "LARGE"), largest);
  auto done = set(a, "LARGE", largest + "y");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::too_large);
  EXPECT_EQ(value(a, "LARGE"), largest);
}

TEST_P(SecretsContract, WhatIsStoredIsThereAfterReopening) {
  ASSERT_TRUE(set(a, "TOKEN", "v"));
  place->reopen();
  EXPECT_EQ(value(a, "TOKEN"), "v");
}

}  // namespace mayfly::contract
