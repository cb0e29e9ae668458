#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "adapters/sealed/key.h"
#include "adapters/sealed/schema.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& file, std::string_view bytes, mode_t mode) {
  std::ofstream(file, std::ios::binary) << bytes;
  ASSERT_EQ(chmod(file.c_str(), mode), 0);
}

struct TheKey : testing::Test {
  Result<SealingKey> load() { return SealingKey::load_or_make(file, entropy); }
  Errc error() {
    auto key = load();
    return key ? Errc::internal : key.error().code;
  }
  TempDir dir;
  std::string file = dir.file("secrets.key");
  SystemEntropy entropy;
};

TEST_F(TheKey, IsMadeOnceForItsOwnerOnly) {
  auto first = load();
  ASSERT_TRUE(first) << first.error().message;
  struct stat st;
  ASSERT_EQ(stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(st.st_size, 32);
  auto again = load();
  ASSERT_TRUE(again);
  EXPECT_TRUE(std::ranges::equal(first->span(), again->span()));
  EXPECT_FALSE(std::ranges::all_of(first->span(), [](auto b) { return b == 0; }));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1) << "nothing else is left there";
}

TEST_F(TheKey, ThatOthersMayReadIsRefused) {
  ASSERT_TRUE(load());
  for (mode_t mode : {0640, 0604, 0660}) {
    ASSERT_EQ(chmod(file.c_str(), mode), 0);
    EXPECT_EQ(error(), Errc::forbidden);
  }
  EXPECT_THAT(load().error().hint, HasSubstr("chmod 600"));
  ASSERT_EQ(chmod(file.c_str(), 0400), 0);
  EXPECT_TRUE(load());
}

TEST_F(TheKey, OfAnotherLengthIsRefusedAndKept) {
  for (std::size_t size : {0, 31, 33}) {
    write(file, std::string(size, 'k'), 0600);
    EXPECT_EQ(error(), Errc::corrupt) << size;
    EXPECT_EQ(contents(file).size(), size);
  }
}

TEST_F(TheKey, IsNotALinkOrAFolder) {
  write(dir.file("elsewhere"), std::string(32, 'k'), 0600);
  ASSERT_EQ(symlink(dir.file("elsewhere").c_str(), file.c_str()), 0);
  EXPECT_EQ(error(), Errc::unavailable);
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  EXPECT_EQ(error(), Errc::corrupt);
}

TEST_F(TheKey, CannotBeMadeInAFolderThatIsMissing) {
  file = dir.file("missing/secrets.key");
  EXPECT_EQ(error(), Errc::unavailable);
}

struct Sealed : testing::Test {
  void SetUp() override {
    database = open_sqlite(dir.file("mayfly.db"), {{1, "secrets", sealed_secrets_table}}).value();
    secrets = open(dir.file("secrets.key"));
  }
  std::unique_ptr<Secrets> open(const std::string& key_file) {
    return make_sealed_secrets(*database, clock, entropy, SealingKey::load_or_make(key_file, entropy).value());
  }
  void set(ProjectId project, std::string name, std::string value) {
    auto done = loop.run(secrets->set(project, {name, value}));
    ASSERT_TRUE(done) << done.error().message;
  }
  /// The value, or the error's code in angle brackets.
  std::string read(ProjectId project, std::string name) {
    std::vector<std::string> names{name};
    auto found = loop.run(secrets->read(project, names));
    return found ? found->at(0).value : "<" + std::string(to_string(found.error().code)) + ">";
  }
  std::int64_t change(std::string_view sql) {
    std::vector<Statement> unit{statement(sql)};
    return loop.run(database->transact(unit)).value().at(0).affected;
  }

  TempDir dir;
  TestLoop loop;
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  std::unique_ptr<Database> database;
  std::unique_ptr<Secrets> secrets;
  ProjectId a = make_id<ProjectId>(clock, entropy), b = make_id<ProjectId>(clock, entropy);
};

TEST_F(Sealed, NoFileOfTheDatabaseEverHoldsTheValue) {
  const std::string value = "correct-horse-battery-staple";
  set(a, "TOKEN", value);
  auto all_files = [&] {
    std::string bytes;
    for (auto& entry : std::filesystem::directory_iterator(dir.path())) bytes += contents(entry.path());
    return bytes;
  };
  EXPECT_THAT(contents(dir.file("mayfly.db-wal")), HasSubstr("TOKEN")) << "the test looks where the row is";
  EXPECT_EQ(all_files().find(value), std::string::npos);
  secrets.reset();
  database.reset();
  EXPECT_THAT(contents(dir.file("mayfly.db")), HasSubstr("TOKEN"));
  EXPECT_EQ(all_files().find(value), std::string::npos);
}

TEST_F(Sealed, TheSameValueIsNeverSealedTheSameWay) {
  set(a, "ONE", "same");
  set(a, "TWO", "same");
  auto rows = loop.run(database->query(statement("SELECT count(DISTINCT nonce), count(DISTINCT sealed) FROM secrets"))).value().rows;
  EXPECT_EQ(rows, (std::vector<Row>{{value(2), value(2)}}));
}

TEST_F(Sealed, ARowMovedToAnotherNameOrProjectDoesNotOpen) {
  set(a, "MINE", "value");
  ASSERT_EQ(change("UPDATE secrets SET name = 'YOURS'"), 1);
  EXPECT_EQ(read(a, "YOURS"), "<corrupt>");
  ASSERT_EQ(change("UPDATE secrets SET name = 'MINE'"), 1);
  EXPECT_EQ(read(a, "MINE"), "value");
  std::vector<Statement> move{statement("UPDATE secrets SET project_id = $1", b)};
  ASSERT_TRUE(loop.run(database->transact(move)));
  EXPECT_EQ(read(b, "MINE"), "<corrupt>");
}

TEST_F(Sealed, AChangedRowDoesNotOpen) {
  for (auto* damage : {"UPDATE secrets SET sealed = nonce", "UPDATE secrets SET nonce = sealed", "UPDATE secrets SET sealed = x''",
                       "UPDATE secrets SET sealed = substr(sealed, 2)"}) {
    set(a, "MINE", "value");
    ASSERT_EQ(change(damage), 1);
    EXPECT_EQ(read(a, "MINE"), "<corrupt>") << damage;
  }
}

TEST_F(Sealed, AnotherKeyOpensNothingAndSaysWhatToDo) {
  set(a, "MINE", "hunter2");
  secrets = open(dir.file("another.key"));
  std::vector<std::string> names{"MINE"};
  auto found = loop.run(secrets->read(a, names));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::corrupt);
  EXPECT_THAT(found.error().hint, HasSubstr("key"));
  EXPECT_THAT(found.error().message, Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace mayfly
