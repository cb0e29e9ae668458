#include "roles/runners/shell_wire.h"

#include <algorithm>
#include <array>

namespace mayfly {
namespace {

/// What one end has sent and the other has not taken.
struct Queue {
  std::deque<ShellFrame> frames;
  bool closed = false;
  Signal moved;
};

class LocalWire final : public ShellWire {
 public:
  LocalWire(Clock& clock, std::shared_ptr<Queue> out, std::shared_ptr<Queue> in) : clock_(clock), out_(std::move(out)), in_(std::move(in)) {}
  ~LocalWire() override { end(); }

  Task<Result<void>> send(ShellFrame frame) override {
    while (!out_->closed && out_->frames.size() >= max_wire_frames) co_await out_->moved.wait(clock_);
    if (out_->closed) co_return fail(Errc::unavailable, "the shell's other end is gone");
    out_->frames.push_back(std::move(frame));
    out_->moved.notify();
    co_return Result<void>{};
  }

  Task<std::optional<ShellFrame>> receive() override {
    while (in_->frames.empty()) {
      if (in_->closed) co_return std::nullopt;
      co_await in_->moved.wait(clock_);
    }
    auto frame = std::move(in_->frames.front());
    in_->frames.pop_front();
    in_->moved.notify();
    co_return frame;
  }

  Task<void> run() override { co_return; }

  Task<void> close() override {
    end();
    co_return;
  }

 private:
  void end() {
    for (auto& queue : {out_, in_}) {
      queue->closed = true;
      queue->moved.notify();
    }
  }

  Clock& clock_;
  std::shared_ptr<Queue> out_;
  std::shared_ptr<Queue> in_;
};

enum class Kind : char { text = 'T', binary = 'B', close = 'C', word = 'A' };   // `word`: only the counts

/// kind, number, how many frames of the other's have come, how many of them were taken; the frame's bytes.
struct Packet {
  Kind kind = Kind::word;
  std::uint64_t number = 0;
  std::uint64_t came = 0;
  std::uint64_t taken = 0;
  std::string_view bytes = {};
};

constexpr std::size_t head_bytes = 1 + 3 * 8;

void append(std::string& out, std::uint64_t n) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(n >> (8 * i) & 0xff);
}

std::uint64_t number_at(std::string_view text, std::size_t at) {
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < 8; ++i) n |= std::uint64_t(static_cast<unsigned char>(text[at + i])) << (8 * i);
  return n;
}

std::optional<Packet> packet_from(std::string_view text) {
  if (text.size() < head_bytes) return std::nullopt;
  auto kind = static_cast<Kind>(text[0]);
  if (kind != Kind::text && kind != Kind::binary && kind != Kind::close && kind != Kind::word) return std::nullopt;
  return Packet{kind, number_at(text, 1), number_at(text, 9), number_at(text, 17), text.substr(head_bytes)};
}

class CacheWire final : public ShellWire {
 public:
  /// A patient end waits for the other's first word as long as it is let.
  CacheWire(Cache& cache, Clock& clock, std::string to, const std::string& from, bool patient)
      : cache_(cache), clock_(clock), to_(std::move(to)), in_(cache.subscribe(from)), patient_(patient), heard_(clock.now()) {}

  Task<Result<void>> send(ShellFrame frame) override {
    while (!gone() && next_ - taken_there_ >= max_wire_frames) co_await moved_.wait(clock_);
    if (gone() || closing_) co_return fail(Errc::unavailable, "the shell's other end is gone");
    co_await send_next(frame.text ? Kind::text : Kind::binary, std::move(frame.bytes));
    co_return Result<void>{};
  }

  Task<std::optional<ShellFrame>> receive() override {
    while (inbox_.empty()) {
      if (gone()) co_return std::nullopt;
      co_await moved_.wait(clock_);
    }
    auto frame = std::move(inbox_.front());
    inbox_.pop_front();
    ++taken_here_;
    moved_.notify();
    owes_word_ = true;
    co_return frame;
  }

  Task<void> run() override {
    while (!over_) {
      if (std::exchange(owes_word_, false)) co_await say();
      if (ended_there_) co_return end();
      auto text = co_await in_->next(next_look());
      if (text) hear(*text);
      auto now = clock_.now();
      if (!patient_ && now - heard_ > wire_silence) end();
      if (!over_ && !unheard_.empty() && now >= resend_at_) co_await resend();
      if (!over_ && now - said_ >= wire_sign_of_life) owes_word_ = true;
    }
  }

  Task<void> close() override {
    if (!over_ && !closing_) {
      closing_ = true;
      co_await send_next(Kind::close, {});
    }
    auto until = clock_.now() + wire_resend_longest;
    while (!over_ && !unheard_.empty() && clock_.now() < until) co_await moved_.wait(clock_, until);
    end();
  }

 private:
  struct Unheard {
    Kind kind;
    std::uint64_t number;
    std::string bytes;
  };

  /// A receive() must not wait for long until the other end may send again.
  Time next_look() const {
    auto look = said_ + wire_sign_of_life;
    if (!unheard_.empty()) look = std::min(look, resend_at_);
    if (inbox_.size() * 2 >= max_wire_frames || owes_word_) look = std::min(look, clock_.now() + std::chrono::milliseconds(5));
    return std::max(look, clock_.now() + std::chrono::milliseconds(1));
  }

  Task<void> send_next(Kind kind, std::string bytes) {
    if (unheard_.empty()) wait_for_answer(wire_resend_after);
    unheard_.push_back({kind, next_++, std::move(bytes)});
    auto& last = unheard_.back();
    co_await publish(last.kind, last.number, last.bytes);
  }

  Task<void> resend() {
    wait_for_answer(std::min(2 * patience_, wire_resend_longest));
    auto copy = unheard_;   // an answer may come between
    for (auto& packet : copy) co_await publish(packet.kind, packet.number, packet.bytes);
  }

  Task<void> say() { co_await publish(Kind::word, 0, {}); }

  Task<void> publish(Kind kind, std::uint64_t number, std::string bytes) {
    std::string text(1, static_cast<char>(kind));
    append(text, number);
    append(text, came_here_);
    append(text, taken_here_);
    text += bytes;
    said_ = clock_.now();
    // What is lost is sent again.
    (void)co_await cache_.publish(to_, text);
  }

  void wait_for_answer(Duration patience) {
    patience_ = patience;
    resend_at_ = clock_.now() + patience;
  }

  void hear(std::string_view text) {
    auto packet = packet_from(text);
    if (!packet || packet->came > next_ || packet->taken > packet->came) return;
    heard_ = clock_.now();
    patient_ = false;
    taken_there_ = std::max(taken_there_, packet->taken);
    bool answered = false;
    while (!unheard_.empty() && unheard_.front().number < packet->came) {
      unheard_.pop_front();
      answered = true;
    }
    if (answered) wait_for_answer(wire_resend_after);
    if (packet->kind != Kind::word) take(*packet);
    moved_.notify();
  }

  void take(const Packet& packet) {
    owes_word_ = true;
    if (packet.number != came_here_) return;   // known already, or one before it was lost
    ++came_here_;
    ended_there_ = packet.kind == Kind::close;
    if (!ended_there_) inbox_.push_back({packet.kind == Kind::text, std::string(packet.bytes)});
  }

  bool gone() const { return over_ || ended_there_; }

  void end() {
    over_ = true;
    moved_.notify();
  }

  Cache& cache_;
  Clock& clock_;
  std::string to_;
  std::unique_ptr<CacheSubscription> in_;
  bool patient_;
  Signal moved_;
  std::deque<Unheard> unheard_;           // sent, and not known to have come
  std::deque<ShellFrame> inbox_;
  std::uint64_t next_ = 0;                // the number of the next frame
  std::uint64_t taken_there_ = 0;
  std::uint64_t came_here_ = 0;
  std::uint64_t taken_here_ = 0;
  Time heard_{};
  Time said_{};
  Time resend_at_{};
  Duration patience_ = wire_resend_after;
  bool owes_word_ = false;
  bool closing_ = false;
  bool ended_there_ = false;
  bool over_ = false;
};

}  // namespace

ShellWires make_local_wire(Clock& clock) {
  auto there = std::make_shared<Queue>(), back = std::make_shared<Queue>();
  return {std::make_shared<LocalWire>(clock, there, back), std::make_shared<LocalWire>(clock, back, there)};
}

std::shared_ptr<ShellWire> make_cache_wire(Cache& cache, Clock& clock, std::string shell, WireEnd end) {
  auto viewer = "shell:" + shell + ":viewer", runner = "shell:" + shell + ":runner";
  if (end == WireEnd::viewer) return std::make_shared<CacheWire>(cache, clock, runner, viewer, true);
  return std::make_shared<CacheWire>(cache, clock, viewer, runner, false);
}

}  // namespace mayfly
