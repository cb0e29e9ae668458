#include "roles/common/projects.h"

#include <gtest/gtest.h>

#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

TEST(RepositoryKey, IsTheSameHoweverTheRepositoryIsNamed) {
  for (auto url : {"https://host.example/acme/web", "https://host.example/acme/web.git", "https://user:pass@Host.example/Acme/Web.git/",
                   "git@host.example:acme/web.git", "ssh://git@host.example:22/acme/web.git", "git://host.example/acme/web"})
    EXPECT_EQ(repository_key(url), "host.example/acme/web") << url;
  EXPECT_EQ(repository_key("/srv/git/Web.git"), "/srv/git/Web");
  EXPECT_EQ(repository_key("file:///srv/git/Web.git"), "/srv/git/Web");
}

TEST(WithoutCredentials, ShowsNoPassword) {
  EXPECT_EQ(without_credentials("https://ada:secret@host.example/web.git"), "https://host.example/web.git");
  EXPECT_EQ(without_credentials("https://host.example/a@b.git"), "https://host.example/a@b.git");
  EXPECT_EQ(without_credentials("git@host.example:web.git"), "git@host.example:web.git");
}

struct ProjectRows : testing::Test {
  VirtualClock clock;
  SeededEntropy entropy{1};
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());

  Result<Project> add(std::string name, std::string url) {
    return loop.run(add_project(*db, clock, entropy, {.name = std::move(name), .repo_url = std::move(url)}));
  }
};

TEST_F(ProjectRows, AWebhookFindsItsProjectByUrlAndElseByName) {
  auto by_url = add("web", "https://host.example/acme/web.git");
  auto by_name = add("acme/tool", "/srv/elsewhere.git");
  ASSERT_TRUE(by_url && by_name);
  auto found = loop.run(projects_of_repository(*db, {.full_name = "acme/web", .clone_url = "https://host.example/acme/web.git"}));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->at(0).id, by_url->id);
  found = loop.run(projects_of_repository(*db, {.full_name = "acme/tool", .clone_url = "https://other.example/x.git"}));
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->at(0).id, by_name->id);
  found = loop.run(projects_of_repository(*db, {.full_name = "%/%"}));
  EXPECT_TRUE(found->empty());
}

TEST_F(ProjectRows, ANameIsTakenOnceAndFreeAfterRemoval) {
  auto first = add("web", "/srv/a.git");
  EXPECT_EQ(add("web", "/srv/b.git").error().code, Errc::conflict);
  ASSERT_TRUE(loop.run(remove_project(*db, clock, first->id)));
  EXPECT_EQ(loop.run(find_project(*db, first->id)).error().code, Errc::not_found);
  EXPECT_TRUE(add("web", "/srv/b.git"));
}

TEST_F(ProjectRows, NamesAndUrlsAreChecked) {
  EXPECT_EQ(add("", "/srv/a.git").error().code, Errc::invalid);
  EXPECT_EQ(add("a/../b", "/srv/a.git").error().code, Errc::invalid);
  EXPECT_EQ(add(std::string(max_project_name_bytes + 1, 'a'), "/srv/a.git").error().code, Errc::invalid);
  EXPECT_TRUE(add(std::string(max_project_name_bytes, 'a'), "/srv/a.git"));
  EXPECT_EQ(add("a", "--upload-pack=x").error().code, Errc::invalid);
}

}  // namespace
}  // namespace mayfly
