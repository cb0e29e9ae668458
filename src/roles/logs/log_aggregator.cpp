#include "roles/logs/log_aggregator.h"

#include <algorithm>

#include "base/log.h"
#include "domain/logs/shipped.h"

namespace mayfly {
namespace {

constexpr Duration poll_wait = std::chrono::milliseconds(500);
constexpr Duration look_interval = std::chrono::milliseconds(250);
constexpr Duration listen_again = std::chrono::minutes(1);
constexpr Duration pause_after_error = std::chrono::milliseconds(500);
constexpr Duration complaint_interval = std::chrono::seconds(10);

bool is_frames(std::string_view payload) { return payload.starts_with("MF"); }

}  // namespace

/// Where the forms of messages are told apart: frames of our own shipper, keyed by attempt.
Result<std::vector<LogAggregator::Piece>> LogAggregator::pieces_of(Message message) {
  if (is_shipped(message.payload)) return shipped_pieces(message.payload);
  if (!is_frames(message.payload)) return fail(Errc::corrupt, "a message on " + std::string(topic::logs) + " begins like no log");
  TRY_ASSIGN(auto attempt, AttemptId::parse(message.key));
  std::vector<Piece> out;
  out.push_back({attempt, std::move(message.payload)});
  return out;
}

Result<std::vector<LogAggregator::Piece>> LogAggregator::shipped_pieces(std::string_view payload) {
  TRY_ASSIGN(auto shipped, decode_shipped(payload));
  if (shipped.refused > 0) complain(Error{Errc::invalid, "shipped logs: " + shipped.first_refusal, {}});
  std::vector<Piece> out;
  for (auto& [attempt, frames] : shipped_frames(std::move(shipped.records))) out.push_back({attempt, std::move(frames)});
  return out;
}

void LogAggregator::complain(const Error& error) {
  if (clock_.now() - complained_ < complaint_interval) return;
  complained_ = clock_.now();
  log_warn("a message with log bytes is passed over", {{"error", error.message}});
}

Task<void> LogAggregator::consume() {
  auto from = bus_.subscribe(topic::logs, log_group);
  for (;;) {
    while (store_.buffered_bytes() > max_aggregate_bytes) {
      for (auto attempt : store_.older_than(Duration::zero())) want_flush(attempt);
      co_await flushed_.wait(clock_, clock_.now() + poll_wait);
    }
    auto batch = co_await from->poll(max_aggregate_polled, clock_.now() + poll_wait);
    if (!batch) {
      log_warn("logs cannot be polled", {{"error", batch.error().message}});
      co_await sleep_for(clock_, pause_after_error);
      continue;
    }
    auto decoded = decode(*std::move(batch));
    co_await open_logs(decoded);
    for (auto& [position, pieces] : decoded) {
      Polled polled{.position = position};
      for (auto& piece : pieces) co_await take(polled, std::move(piece));
      polled_.push_back(std::move(polled));
    }
    co_await commit(*from);
  }
}

std::vector<LogAggregator::Decoded> LogAggregator::decode(std::vector<Message> batch) {
  std::vector<Decoded> out;
  for (auto& message : batch) {
    auto& decoded = out.emplace_back(Decoded{.position = message.position, .pieces = {}});
    auto pieces = pieces_of(std::move(message));
    if (pieces) decoded.pieces = *std::move(pieces);
    else complain(pieces.error());
  }
  return out;
}

/// Those not known yet are looked up side by side: after a start there may be thousands.
Task<void> LogAggregator::open_logs(const std::vector<Decoded>& batch) {
  std::set<AttemptId> unknown;
  for (auto& decoded : batch)
    for (auto& piece : decoded.pieces)
      if (!store_.durable(piece.attempt)) unknown.insert(piece.attempt);
  if (unknown.empty()) co_return;
  Scope side_by_side(loop_);
  for (auto attempt : unknown) side_by_side.spawn(open_log(attempt));
  co_await side_by_side.join();
}

Task<void> LogAggregator::open_log(AttemptId attempt) { (void)co_await store_.position(attempt); }

/// Comes back when the piece is taken or is known to be none: what the database has to say is waited for.
Task<void> LogAggregator::take(Polled& into, Piece piece) {
  for (;;) {
    auto taken = co_await store_.take(piece.attempt, piece.frames);
    if (taken) {
      if (taken->grew) into.ends.emplace_back(piece.attempt, taken->next);
      co_return look_at(piece.attempt, *taken);
    }
    auto& error = taken.error();
    if (error.code != Errc::unavailable && error.code != Errc::timeout) co_return complain(error);
    log_warn("it is not known how far a log is stored", {{"attempt", piece.attempt.str()}, {"error", error.message}});
    co_await sleep_for(clock_, pause_after_error);
  }
}

void LogAggregator::look_at(AttemptId attempt, const LogStore::Taken& taken) {
  bool marked_beyond = taken.mark && *taken.mark > taken.next;
  if (taken.beyond || marked_beyond) {
    auto& spoken = gaps_[attempt];
    if (marked_beyond || clock_.now() - spoken >= gap_notice_interval) {
      spoken = clock_.now();
      announce({.attempt = attempt, .durable = taken.durable, .gap = taken.next});
    }
  }
  if (taken.mark || taken.buffered >= log_chunk_bytes) want_flush(attempt);
}

bool LogAggregator::is_stored(const Polled& polled) const {
  return std::ranges::all_of(polled.ends, [&](auto& end) { return store_.durable(end.first).value_or(INT64_MAX) >= end.second; });
}

Task<void> LogAggregator::commit(Subscription& from) {
  std::optional<std::int64_t> position;
  for (; !polled_.empty() && is_stored(polled_.front()); polled_.pop_front()) position = polled_.front().position;
  if (!position) co_return;
  auto committed = co_await from.commit(*position);
  if (!committed) log_warn("the place on the bus cannot be kept", {{"error", committed.error().message}});
}

void LogAggregator::want_flush(AttemptId attempt) {
  auto& flush = flushes_[attempt];
  if (std::exchange(flush.queued, true)) return;
  if (!flush.busy) flush_queue_.push_back(attempt);
  start_flushes();
}

void LogAggregator::start_flushes() {
  while (work_ && flushing_ < max_flushes_at_once && !flush_queue_.empty()) {
    auto attempt = flush_queue_.front();
    flush_queue_.pop_front();
    flushes_[attempt] = {.queued = false, .busy = true};
    ++flushing_;
    work_->spawn(flush(attempt));
  }
}

Task<void> LogAggregator::flush(AttemptId attempt) {
  auto flushed = co_await store_.flush(attempt);
  --flushing_;
  if (flushed) announce({.attempt = attempt, .durable = store_.durable(attempt).value_or(0)});
  else log_warn("a log chunk could not be stored", {{"attempt", attempt.str()}, {"error", flushed.error().message}});
  auto& again = flushes_[attempt];
  again.busy = false;
  if (again.queued) flush_queue_.push_back(attempt);
  else flushes_.erase(attempt);
  flushed_.notify();
  start_flushes();
}

Task<void> LogAggregator::flush_old() {
  for (;;) {
    co_await sleep_for(clock_, look_interval);
    for (auto attempt : store_.older_than(log_chunk_age)) want_flush(attempt);
    store_.forget_idle();
    std::erase_if(gaps_, [&](auto& gap) { return gap.second + gap_notice_interval < clock_.now(); });
  }
}

void LogAggregator::announce(const LogNotice& notice) {
  notices_.add(to_line(notice));
  to_send_.notify();
}

Task<void> LogAggregator::announce_forever() {
  for (;;) {
    co_await to_send_.wait(clock_);
    for (auto& lines : notices_.take()) (void)co_await cache_.publish(log_notices, lines);
  }
}

/// Who begins to watch, or missed something, is told what is not stored yet.
Task<void> LogAggregator::retell() {
  auto watches = cache_.subscribe(log_watches);
  for (;;) {
    auto lines = co_await watches->next(clock_.now() + listen_again);
    if (!lines) continue;
    for (auto& watch : watches_from(*lines)) {
      if (!watch.from) continue;
      auto part = store_.in_memory(watch.attempt, *watch.from, max_retold_bytes);
      if (part.text.empty()) continue;
      for (auto& piece : split_frames(frames_of(part.offset, part.text, clock_.now())))
        (void)co_await cache_.publish(log_channel(watch.attempt), piece);
    }
  }
}

Task<void> LogAggregator::run() {
  Scope work(loop_);
  work_ = &work;
  flushing_ = 0;
  struct Ended {
    LogAggregator& self;
    ~Ended() { self.work_ = nullptr; }
  } ended{*this};
  work.spawn(consume());
  work.spawn(flush_old());
  work.spawn(announce_forever());
  work.spawn(retell());
  co_await work.join();
}

}  // namespace mayfly
