#pragma once
// What every Bus must do. To plug one in: link bus_contract.cpp, and instantiate BusContract with a factory.

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "contract/surroundings.h"
#include "ports/bus.h"

namespace mayfly::contract {

struct BusFactory {
  std::string name;
  std::function<Surroundings()> surroundings;
  std::function<std::unique_ptr<Bus>(Surroundings&)> make;
  Duration patience;  // how long a message or a change of members may take to arrive

  friend void PrintTo(const BusFactory& f, std::ostream* out) { *out << f.name; }
};

class BusContract : public testing::TestWithParam<BusFactory> {
 protected:
  void SetUp() override;

  template <class T>
  T run(Task<T> task) {
    return around.loop->run(std::move(task));
  }
  /// A member whose group has its place in the topic.
  std::unique_ptr<Subscription> join(std::string_view group);
  /// Two members of group g, once each has its share of the keys.
  std::pair<std::unique_ptr<Subscription>, std::unique_ptr<Subscription>> join_two();
  void publish(std::string key, std::string payload);
  /// Polls until `count` have come or the patience is over, then a little longer for what should not come.
  std::vector<Message> receive(Subscription& from, std::size_t count);
  /// The same of two members together.
  std::array<std::vector<Message>, 2> receive(Subscription& a, Subscription& b, std::size_t count);
  Task<std::vector<Message>> receiving(Subscription& from, std::size_t count);

  Surroundings around;
  std::unique_ptr<Bus> bus;
  std::string topic;  // one of its own for each test
};

}  // namespace mayfly::contract
