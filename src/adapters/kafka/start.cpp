#include "adapters/kafka/start.h"

#include <algorithm>

namespace mayfly::kafka {
namespace {

using namespace std::chrono_literals;

constexpr int question_ms = 2000;
constexpr std::int64_t none = -1;

using Metadata = std::unique_ptr<const rd_kafka_metadata_t, Destroy<rd_kafka_metadata_destroy>>;

Partitions all_of(const std::string& topic, int partitions) {
  Partitions out(rd_kafka_topic_partition_list_new(partitions));
  rd_kafka_topic_partition_list_add_range(out.get(), topic.c_str(), 0, partitions - 1);
  return out;
}

/// The first error among a list's partitions.
rd_kafka_resp_err_t error_in(const rd_kafka_topic_partition_list_t& list) {
  for (int i = 0; i < list.cnt; ++i)
    if (list.elems[i].err) return list.elems[i].err;
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/// Of a list made by all_of.
Offsets offsets_of(const rd_kafka_topic_partition_list_t& list) {
  Offsets out;
  for (int i = 0; i < list.cnt; ++i) out.push_back(std::max(list.elems[i].offset, none));
  return out;
}

bool all_known(const Offsets& offsets) { return std::ranges::find(offsets, none) == offsets.end(); }
bool any_known(const Offsets& offsets) {
  return std::ranges::any_of(offsets, [](auto offset) { return offset != none; });
}

Result<int> count_partitions(rd_kafka_t* client, const std::string& topic) {
  auto doing = "looking for the topic " + topic;
  Topic handle(rd_kafka_topic_new(client, topic.c_str(), nullptr));
  if (!handle) return std::unexpected(broker_error(doing, rd_kafka_last_error()));
  constexpr int only_this_topic = 0;
  const rd_kafka_metadata_t* found = nullptr;
  auto code = rd_kafka_metadata(client, only_this_topic, handle.get(), &found, question_ms);
  Metadata metadata(found);
  bool one = !code && metadata->topic_cnt == 1;
  if (one) code = metadata->topics[0].err;
  if (is_unknown_topic(code) || (!code && (!one || metadata->topics[0].partition_cnt == 0)))
    return fail(Errc::not_found, "there is no topic " + topic);
  if (code) return std::unexpected(broker_error(doing, code));
  return metadata->topics[0].partition_cnt;
}

Result<Offsets> committed(rd_kafka_t* client, const std::string& topic, int partitions) {
  auto list = all_of(topic, partitions);
  auto code = rd_kafka_committed(client, list.get(), question_ms);
  if (!code) code = error_in(*list);
  if (code) return std::unexpected(broker_error("asking where the group stands in " + topic, code));
  return offsets_of(*list);
}

/// `which`: RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END. Kafka's protocol takes them in the place of times, and answers
/// for all partitions at once.
Result<Offsets> ends(rd_kafka_t* client, const std::string& topic, int partitions, std::int64_t which) {
  auto list = all_of(topic, partitions);
  for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = which;
  auto code = rd_kafka_offsets_for_times(client, list.get(), question_ms);
  if (!code) code = error_in(*list);
  auto offsets = offsets_of(*list);
  if (!code && !all_known(offsets)) code = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
  if (code) return std::unexpected(broker_error("asking where " + topic + " ends", code));
  return offsets;
}

/// In the client's present generation of the group; past it the broker refuses.
Result<void> commit(rd_kafka_t* client, const std::string& topic, const Offsets& offsets) {
  Partitions list(rd_kafka_topic_partition_list_new(int(offsets.size())));
  for (std::size_t i = 0; i < offsets.size(); ++i)
    if (offsets[i] != none) rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), int(i))->offset = offsets[i];
  Queue answers(rd_kafka_queue_new(client));
  auto code = rd_kafka_commit_queue(client, list.get(), answers.get(), nullptr, nullptr);
  if (!code) {
    Event event(rd_kafka_queue_poll(answers.get(), question_ms));
    code = event ? rd_kafka_event_error(event.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (!code) code = error_in(*rd_kafka_event_topic_partition_list(event.get()));
  }
  if (code) return std::unexpected(broker_error("keeping where the group starts in " + topic, code));
  return {};
}

}  // namespace

Result<Look> look_around(rd_kafka_t* client, const std::string& topic) {
  TRY_ASSIGN(auto partitions, count_partitions(client, topic));
  TRY_ASSIGN(auto at, committed(client, topic, partitions));
  if (any_known(at)) return Look{true, {}};
  TRY_ASSIGN(auto end, ends(client, topic, partitions, RD_KAFKA_OFFSET_END));
  return Look{false, std::move(end)};
}

Result<std::optional<Offsets>> settle(rd_kafka_t* client, const std::string& topic, const Place& place) {
  TRY_ASSIGN(auto partitions, count_partitions(client, topic));
  TRY_ASSIGN(auto at, committed(client, topic, partitions));
  if (all_known(at)) return at;
  if (!place.may_settle) return std::nullopt;
  // A partition that came later belongs to a group that is there from its beginning.
  bool all_is_new = place.placed || any_known(at);
  TRY_ASSIGN(auto start, ends(client, topic, partitions, RD_KAFKA_OFFSET_BEGINNING));
  if (!all_is_new) std::ranges::copy(place.ends.begin(), place.ends.begin() + std::ptrdiff_t(std::min(place.ends.size(), start.size())), start.begin());
  for (std::size_t i = 0; i < at.size(); ++i)
    if (at[i] != none) start[i] = none;
  TRY(commit(client, topic, start));
  for (std::size_t i = 0; i < at.size(); ++i)
    if (at[i] != none) start[i] = at[i];
  return start;
}

}  // namespace mayfly::kafka

