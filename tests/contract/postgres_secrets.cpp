#include "adapters/postgres/postgres.h"
#include "adapters/sealed/schema.h"
#include "adapters/sealed/secrets.h"
#include "adapters/system/system_clock.h"
#include "contract/secrets_contract.h"
#include "support/postgres.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"

namespace mayfly::contract {
namespace {

class SealedInPostgres final : public SecretsPlace {
 public:
  explicit SealedInPostgres(TestLoop& loop) : loop_(loop.loop()), clock_(loop_) { reopen(); }
  Secrets& secrets() override { return *secrets_; }
  void reopen() override {
    secrets_.reset();
    database_.reset();
    database_ = open_postgres(loop_, clock_, {.url = schema_.url()}, {{1, "secrets", sealed_secrets_table}}).value();
    auto key = SealingKey::load_or_make(dir_.file("secrets.key"), entropy_).value();
    secrets_ = make_sealed_secrets(*database_, clock_, entropy_, std::move(key));
  }

 private:
  Loop loop_;
  TempDir dir_;
  SystemClock clock_;
  SeededEntropy entropy_{1};
  PostgresSchema schema_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Secrets> secrets_;
};

std::vector<SecretsFactory> places() {
  std::vector<SecretsFactory> out;
  if (!test_postgres().empty()) out.push_back({"SealedInPostgres", [](TestLoop& loop) { return std::make_unique<SealedInPostgres>(loop); }});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Production, SecretsContract, testing::ValuesIn(places()), [](auto& info) { return info.param.name; });

}  // namespace
}  // namespace mayfly::contract
