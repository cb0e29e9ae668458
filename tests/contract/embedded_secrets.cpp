#include "adapters/sealed/schema.h"
#include "adapters/sealed/secrets.h"
#include "adapters/sqlite/sqlite.h"
#include "adapters/system/system_clock.h"
#include "contract/secrets_contract.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"

namespace mayfly::contract {
namespace {

class SealedPlace final : public SecretsPlace {
 public:
  explicit SealedPlace(TestLoop& loop) : clock_(loop.loop()) { reopen(); }
  Secrets& secrets() override { return *secrets_; }
  void reopen() override {
    secrets_.reset();
    database_.reset();
    database_ = open_sqlite(dir_.file("mayfly.db"), {{1, "secrets", sealed_secrets_table}}).value();
    auto key = SealingKey::load_or_make(dir_.file("secrets.key"), entropy_).value();
    secrets_ = make_sealed_secrets(*database_, clock_, entropy_, std::move(key));
  }

 private:
  TempDir dir_;
  SystemClock clock_;
  SeededEntropy entropy_{1};
  std::unique_ptr<Database> database_;
  std::unique_ptr<Secrets> secrets_;
};

const SecretsFactory sealed{"Sealed", [](TestLoop& loop) { return std::make_unique<SealedPlace>(loop); }};

INSTANTIATE_TEST_SUITE_P(Embedded, SecretsContract, testing::Values(sealed), [](auto& info) { return info.param.name; });

}  // namespace
}  // namespace mayfly::contract
