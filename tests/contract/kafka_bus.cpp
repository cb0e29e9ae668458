#include "adapters/kafka/bus.h"

#include "adapters/kafka/test_kafka.h"
#include "contract/bus_contract.h"

namespace mayfly::contract {
namespace {

using namespace std::chrono_literals;

/// A bus whose topics and groups go with it.
class PassingBus final : public Bus {
 public:
  explicit PassingBus(Surroundings& around) {
    KafkaOptions options{.brokers = kafka::broker_of_tests(), .topic_prefix = prefix_.name()};
    auto made = make_kafka_bus(around.loop->loop(), *around.clock, std::move(options));
    if (!made) throw std::runtime_error(made.error().message);
    inner_ = std::move(*made);
  }

  Task<Result<void>> publish(std::string_view topic, std::vector<Message> messages) override {
    return inner_->publish(topic, std::move(messages));
  }
  std::unique_ptr<Subscription> subscribe(std::string_view topic, std::string_view group) override {
    return inner_->subscribe(topic, group);
  }
  Task<Result<void>> ping() override { return inner_->ping(); }

 private:
  kafka::TestPrefix prefix_;  // cleaned up when the bus has left
  std::unique_ptr<Bus> inner_;
};

std::vector<BusFactory> buses() {
  if (kafka::broker_of_tests().empty()) return {};
  return {{"Kafka", on_real_time, [](Surroundings& around) { return std::make_unique<PassingBus>(around); }, 10s}};
}

INSTANTIATE_TEST_SUITE_P(Kafka, BusContract, testing::ValuesIn(buses()), [](auto& info) { return info.param.name; });

TEST(KafkaBus, IsTestedAgainstARealBroker) {
  if (kafka::broker_of_tests().empty()) GTEST_SKIP() << kafka::no_broker;
}

}  // namespace
}  // namespace mayfly::contract
