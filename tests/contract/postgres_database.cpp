#include "adapters/postgres/postgres.h"
#include "adapters/system/system_clock.h"
#include "contract/database_contract.h"
#include "support/postgres.h"

namespace mayfly::contract {
namespace {

class PostgresStore final : public DatabaseStore {
 public:
  explicit PostgresStore(TestLoop& loop) : loop_(loop.loop()), clock_(loop_) {}
  Result<std::unique_ptr<Database>> open(std::vector<Migration> migrations) override {
    return open_postgres(loop_, clock_, {.url = schema_.url()}, std::move(migrations));
  }

 private:
  Loop loop_;
  SystemClock clock_;
  PostgresSchema schema_;
};

std::vector<DatabaseFactory> stores() {
  std::vector<DatabaseFactory> out;
  if (!test_postgres().empty()) out.push_back({"Postgres", [](TestLoop& loop) { return std::make_unique<PostgresStore>(loop); }});
  return out;
}

constexpr auto name_of = [](auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Production, DatabaseContract, testing::ValuesIn(stores()), name_of);
INSTANTIATE_TEST_SUITE_P(Production, DatabaseReopeningContract, testing::ValuesIn(stores()), name_of);

TEST(Postgres, IsThere) {
  if (test_postgres().empty()) GTEST_SKIP() << how_to_have_postgres;
}

}  // namespace
}  // namespace mayfly::contract
