// The Bus over Kafka, beside librdkafka used bare with the same settings in the same run: what publishing and polling on the
// loop cost. The broker is the one that MAYFLY_TEST_KAFKA names (scripts/servers); both sides wait for its acknowledgement.

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "adapters/kafka/bus.h"
#include "adapters/kafka/test_kafka.h"
#include "adapters/system/system_clock.h"
#include "async/scope.h"
#include "bench/report.h"

using namespace mayfly;
using namespace std::chrono_literals;

namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t publishers = 4;  // at once, as roles do
constexpr std::size_t batch_bytes = 256 << 10;
constexpr std::size_t keys = 64;
constexpr int latency_rounds = 400;

double seconds_since(Steady::time_point began) { return std::chrono::duration<double>(Steady::now() - began).count(); }

std::string key(std::size_t i) { return "key " + std::to_string(i % keys); }

void check(const auto& result, const char* what) {
  if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message);
}

void say(const std::string& what, double value, const char* unit, double bare, const std::string& note, bool more) {
  std::printf("{\"what\": \"%s\", \"value\": %.4g, \"unit\": \"%s\", \"floor\": %.4g, \"better\": \"%s\", \"note\": \"%s\"}\n", what.c_str(), value, unit,
              bare, more ? "more" : "less", note.c_str());
}

/// Runs a coroutine on a loop of its own, with a bus.
struct Ours {
  boost::asio::io_context loop{1};
  SystemClock clock{loop.get_executor()};
  std::unique_ptr<Bus> bus;

  explicit Ours(const std::string& prefix) {
    auto made = make_kafka_bus(loop.get_executor(), clock, {.brokers = kafka::broker_of_tests(), .topic_prefix = prefix});
    check(made, "the bus");
    bus = std::move(*made);
  }
  void run(Task<void> task) {
    Scope scope(loop.get_executor());
    scope.spawn(std::move(task));
    while (scope.size() > 0) loop.run_one();
  }

  Task<void> publish(std::size_t size, std::size_t first, std::size_t count) {
    auto in_batch = std::max<std::size_t>(1, batch_bytes / size);
    for (std::size_t at = first; at < first + count;) {
      std::vector<Message> batch;
      for (; batch.size() < in_batch && at < first + count; ++at) batch.push_back({key(at), std::string(size, 'x')});
      check(co_await bus->publish("t", std::move(batch)), "publishing");
    }
  }
  Task<void> publish_all(std::size_t size, std::size_t count) {
    Scope scope(loop.get_executor());
    for (std::size_t i = 0; i < publishers; ++i) scope.spawn(publish(size, i * count / publishers, count / publishers));
    co_await scope.join();
  }
  Task<void> consume(Subscription& from, std::size_t count) {
    for (std::size_t got = 0; got < count;) {
      auto some = co_await from.poll(500, clock.now() + 20s);
      check(some, "polling");
      if (some->empty()) throw std::runtime_error("messages are missing");
      got += some->size();
      check(co_await from.commit(some->back().position), "committing");
    }
  }
  Task<void> latencies(Subscription& from, std::vector<double>& ms) {
    for (int i = 0; i < latency_rounds; ++i) {
      auto began = Steady::now();
      Scope scope(loop.get_executor());
      scope.spawn(publish(200, std::size_t(i), 1));
      auto got = co_await from.poll(1, clock.now() + 5s);
      ms.push_back(seconds_since(began) * 1e3);
      check(got, "polling");
      co_await scope.join();
      check(co_await from.commit(got->back().position), "committing");
    }
  }
};

/// librdkafka as its examples use it.
struct Bare {
  rd_kafka_t* producer;
  rd_kafka_t* consumer;
  kafka::Topic topic;

  Bare(const std::string& prefix) {
    KafkaOptions options{.brokers = kafka::broker_of_tests()};
    kafka::make_topic(options.brokers, prefix + "bare", options.partitions, {});
    producer = *kafka::make_producer(options);
    consumer = *kafka::make_consumer(options, prefix + "bare");
    topic.reset(rd_kafka_topic_new(producer, (prefix + "bare").c_str(), nullptr));
    kafka::Partitions list(rd_kafka_topic_partition_list_new(options.partitions));
    for (int i = 0; i < options.partitions; ++i) rd_kafka_topic_partition_list_add(list.get(), (prefix + "bare").c_str(), i)->offset = 0;
    rd_kafka_assign(consumer, list.get());
  }
  Bare(const Bare&) = delete;
  ~Bare() {
    topic.reset();
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer);
  }

  void reports() {
    kafka::Queue queue(rd_kafka_queue_get_main(producer));
    while (kafka::Event(rd_kafka_queue_poll(queue.get(), 0))) {
    }
  }
  void publish(std::size_t size, std::size_t first, std::size_t count) {
    std::string payload(size, 'x');
    for (std::size_t i = first; i < first + count;) {
      auto k = key(i);
      if (rd_kafka_produce(topic.get(), RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload.data(), payload.size(), k.data(), k.size(), nullptr) == 0)
        ++i;
      reports();
    }
    while (rd_kafka_outq_len(producer) > 0) reports();
  }
  void consume(std::size_t count) {
    for (std::size_t got = 0; got < count;) {
      auto* message = rd_kafka_consumer_poll(consumer, 20'000);
      if (!message) throw std::runtime_error("messages are missing");
      if (!message->err) ++got;
      rd_kafka_message_destroy(message);
    }
  }
  void latencies(std::vector<double>& ms) {
    for (int i = 0; i < latency_rounds; ++i) {
      auto k = key(std::size_t(i));
      std::string payload(200, 'x');
      auto began = Steady::now();
      rd_kafka_produce(topic.get(), RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload.data(), payload.size(), k.data(), k.size(), nullptr);
      consume(1);
      ms.push_back(seconds_since(began) * 1e3);
      reports();
    }
  }
};

double median_of(std::vector<double> samples) { return bench::quantile(samples, 0.5); }

void throughput(Ours& ours, Bare& bare, Subscription& member, std::size_t size, std::size_t count, const std::string& name) {
  constexpr int rounds = 3;
  std::vector<double> rates[4];  // ours published, bare published, ours consumed, bare consumed
  auto rate = [&](std::vector<double>& into, auto work) {
    auto began = Steady::now();
    work();
    into.push_back(double(count) / seconds_since(began));
  };
  for (int round = 0; round < rounds; ++round) {
    rate(rates[0], [&] { ours.run(ours.publish_all(size, count)); });
    rate(rates[1], [&] { bare.publish(size, 0, count); });
    rate(rates[2], [&] { ours.run(ours.consume(member, count)); });
    rate(rates[3], [&] { bare.consume(count); });
  }
  auto note = std::to_string(count) + " messages, acknowledged by one broker; floor: librdkafka bare, the same settings";
  say("bus: published, " + name, median_of(rates[0]), "messages/s", median_of(rates[1]), note, true);
  say("bus: polled and committed, " + name, median_of(rates[2]), "messages/s", median_of(rates[3]), note + ", nothing committed", true);
}

Task<void> first_poll(Ours& ours, Subscription& member) { check(co_await member.poll(1, ours.clock.now()), "the first poll"); }

void run() {
  kafka::TestPrefix prefix;
  Ours ours(prefix.name());
  Bare bare(prefix.name());
  auto member = ours.bus->subscribe("t", "g");
  ours.run(first_poll(ours, *member));
  throughput(ours, bare, *member, 1'000, 40'000, "1 KB");
  throughput(ours, bare, *member, 256'000, 400, "256 KB");
  std::vector<double> ms, bare_ms;
  ours.run(ours.latencies(*member, ms));
  bare.latencies(bare_ms);
  auto note = std::to_string(latency_rounds) + " messages of 200 bytes, one at a time; floor: librdkafka bare";
  say("bus: published to polled p50", bench::quantile(ms, 0.5), "ms", bench::quantile(bare_ms, 0.5), note, false);
  say("bus: published to polled p99", bench::quantile(ms, 0.99), "ms", bench::quantile(bare_ms, 0.99), note, false);
}

}  // namespace

int main() {
  if (kafka::broker_of_tests().empty()) {
    std::fprintf(stderr, "%s\n", kafka::no_broker);
    return 1;
  }
  try {
    run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
