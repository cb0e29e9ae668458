#include "contract/clock_contract.h"

namespace mayfly::contract {
namespace {

const ClockFactory real{"System", on_real_time}, virtual_time{"Virtual", on_virtual_time};

INSTANTIATE_TEST_SUITE_P(Embedded, ClockContract, testing::Values(real, virtual_time),
                         [](auto& info) { return info.param.name; });

}  // namespace
}  // namespace mayfly::contract
