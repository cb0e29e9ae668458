#include "adapters/memory/bus.h"
#include "adapters/memory/cache.h"
#include "contract/bus_contract.h"
#include "contract/cache_contract.h"

namespace mayfly::contract {
namespace {

using namespace std::chrono_literals;

constexpr auto name_of = [](auto& info) { return info.param.name; };

const BusFactory memory_bus{
    "Memory", on_virtual_time, [](Surroundings& around) { return make_memory_bus(*around.clock); }, 100ms};
INSTANTIATE_TEST_SUITE_P(Embedded, BusContract, testing::Values(memory_bus), name_of);

const CacheFactory memory_cache{
    "Memory", on_virtual_time, [](Surroundings& around) { return make_memory_cache(*around.clock); }, 100ms};
INSTANTIATE_TEST_SUITE_P(Embedded, CacheContract, testing::Values(memory_cache), name_of);

}  // namespace
}  // namespace mayfly::contract
