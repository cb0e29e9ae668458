#pragma once
// One member of a group, from joining to leaving. librdkafka's group protocol is eager here: whenever members come or go, all
// give back their partitions and are dealt them anew, starting where the group committed.
//
// A new group's start is a commit like any other, made for all partitions at once by the member that was dealt partition 0. The
// broker fences that commit by the group's generation, so members never disagree about the start, and none is placed until it
// is made. It is what was the end when that member looked, before it joined.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/kafka/client.h"
#include "adapters/kafka/positions.h"
#include "adapters/kafka/start.h"
#include "adapters/kafka/watch.h"

namespace mayfly::kafka {

/// What librdkafka's threads use. Destroying it leaves the group, and blocks: not on the loop.
struct MemberClient;

struct PendingCommit {
  std::int64_t position;
  std::optional<rd_kafka_resp_err_t> answer;
  Signal answered;
};

struct Membership {
  std::string topic, group;
  /// The subscription had its place in the topic before. If the group lost it, it goes on at the beginning of what there is:
  /// all of that is new.
  bool placed = false;
  std::int64_t last_position = 0;
};

class Member final : public std::enable_shared_from_this<Member> {
 public:
  static Result<std::shared_ptr<Member>> join(Loop loop, Offload& blocking, const KafkaOptions& options, Membership membership);
  ~Member();

  /// The group has its place in the topic: nothing that is published from now on is missed.
  bool placed() const { return as_.placed; }
  /// True when this member cannot go on, and another one should.
  bool spoiled() const { return spoiled_; }
  /// What keeps it from being placed, as far as that is known.
  const std::optional<Error>& trouble() const { return trouble_; }
  std::int64_t last_position() const { return positions_.last(); }

  /// Up to `max` messages that are here already.
  std::vector<Message> take(std::size_t max);
  /// Null when nothing of what was polled up to there is ours to commit.
  std::shared_ptr<PendingCommit> commit(std::int64_t position);

  /// What take(), placed(), spoiled() and trouble() say may have changed.
  Signal news;

  /// Leaves the group, elsewhere. Call once, last.
  void leave();

 private:
  Member(Loop loop, Offload& blocking, Membership membership);

  template <class Ask, class Tell>
  void elsewhere(Ask ask, Tell tell);
  void later(Duration pause, void (Member::*what)());

  void look();
  void looked(Result<Look> look);
  void place();
  void settled(int deal, Result<std::optional<Offsets>> at);
  void assign(const Offsets& at);
  void give_back();
  void serve();
  void rebalance(rd_kafka_event_t* event);
  void committed(rd_kafka_event_t* event);
  void failed(rd_kafka_resp_err_t code);
  void tick();

  Loop loop_;
  Offload& blocking_;
  Membership as_;
  std::shared_ptr<MemberClient> client_;
  std::optional<QueueWatch> group_watch_, data_watch_;
  std::optional<Every> tick_, retry_;
  std::map<void*, std::shared_ptr<PendingCommit>> commits_;
  Positions positions_;
  Partitions dealt_;  // ours, and not yet known where to begin
  int deal_ = 0;      // counts them, so that an answer about an earlier one is told apart
  Offsets ends_;
  std::optional<Error> trouble_;
  std::string cluster_;
  bool spoiled_ = false;
};

}  // namespace mayfly::kafka
