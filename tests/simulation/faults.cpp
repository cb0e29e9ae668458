#include "simulation/faults.h"

#include <map>

namespace mayfly::simulation {

using namespace std::chrono_literals;

Task<Result<Rows>> FaultyDatabase::query(Statement statement) {
  if (chance_.happens(chance_.faults().database_slow)) co_await sleep_for(clock_, chance_.up_to(200ms));
  if (chance_.happens(chance_.faults().database_before)) co_return fail(Errc::unavailable, "the database is away");
  co_return co_await inner_.query(std::move(statement));
}

Task<Result<std::vector<Rows>>> FaultyDatabase::transact(std::vector<Statement> unit) {
  if (chance_.happens(chance_.faults().database_slow)) co_await sleep_for(clock_, chance_.up_to(200ms));
  if (chance_.happens(chance_.faults().database_before)) co_return fail(Errc::unavailable, "the database is away");
  auto result = co_await inner_.transact(std::move(unit));
  if (chance_.happens(chance_.faults().database_slow)) co_await sleep_for(clock_, chance_.up_to(200ms));
  if (chance_.happens(chance_.faults().database_after)) co_return fail(Errc::timeout, "the database did not answer");
  co_return result;
}

Task<Result<void>> FaultyBus::publish(std::string_view topic, std::vector<Message> messages) {
  if (chance_.happens(chance_.faults().message_lost)) co_return Result<void>{};
  if (chance_.happens(chance_.faults().message_late)) co_await sleep_for(clock_, chance_.up_to(3s));
  if (chance_.happens(chance_.faults().message_doubled)) CO_TRY(co_await inner_->publish(topic, messages));
  co_return co_await inner_->publish(topic, std::move(messages));
}

Task<Result<std::string>> SimulatedForge::resolve(std::string, std::string) { co_return std::string(40, 'a'); }

Task<Result<Snapshot>> SimulatedForge::snapshot(std::string, std::string sha, std::string) {
  co_await sleep_for(clock_, chance_.up_to(50ms));
  if (chance_.happens(chance_.faults().forge_away)) co_return fail(Errc::unavailable, "the forge is away");
  co_return Snapshot{{sha, "a change", "Ada"}, {{".ci.yaml", pipeline_}}};
}

Task<Result<std::optional<std::vector<std::string>>>> SimulatedForge::changed_paths(std::string, std::string, std::string) {
  co_return std::optional<std::vector<std::string>>{};
}

Task<Result<std::vector<std::string>>> SimulatedForge::tree_hashes(std::string, std::string, std::vector<std::string>) {
  co_return std::vector<std::string>{};
}

Task<Result<std::string>> SimulatedForge::mirror(std::string) { co_return "/mirror"; }

}  // namespace mayfly::simulation
