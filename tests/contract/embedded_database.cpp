#include "adapters/sqlite/sqlite.h"
#include "contract/database_contract.h"
#include "support/temp_dir.h"

namespace mayfly::contract {
namespace {

class SqliteFile final : public DatabaseStore {
 public:
  explicit SqliteFile(bool inline_mode) : inline_mode_(inline_mode) {}
  Result<std::unique_ptr<Database>> open(std::vector<Migration> migrations) override {
    return open_sqlite(dir_.file("mayfly.db"), std::move(migrations), {.inline_mode = inline_mode_});
  }

 private:
  TempDir dir_;
  bool inline_mode_;
};

class SqliteMemory final : public DatabaseStore {
 public:
  Result<std::unique_ptr<Database>> open(std::vector<Migration> migrations) override {
    return open_sqlite(":memory:", std::move(migrations), {.inline_mode = true});
  }
};

const DatabaseFactory threads{"SqliteThreads", [](TestLoop&) { return std::make_unique<SqliteFile>(false); }};
const DatabaseFactory one_thread{"SqliteInline", [](TestLoop&) { return std::make_unique<SqliteFile>(true); }};
const DatabaseFactory in_memory{"SqliteMemory", [](TestLoop&) { return std::make_unique<SqliteMemory>(); }};

constexpr auto name_of = [](auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Embedded, DatabaseContract, testing::Values(threads, one_thread, in_memory), name_of);
INSTANTIATE_TEST_SUITE_P(Embedded, DatabaseReopeningContract, testing::Values(threads, one_thread), name_of);

}  // namespace
}  // namespace mayfly::contract
