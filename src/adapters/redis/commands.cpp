#include "adapters/redis/commands.h"

namespace mayfly {

using State = RedisSession::State;

RedisCommands::RedisCommands(Loop loop, Clock& clock, RedisTarget target, RedisTimes times, RedisCommandLimits limits)
    : clock_(clock),
      times_(times),
      limits_(limits),
      session_(std::move(loop), std::move(target), times,
               {[this] { up(); }, [this](RespValue value) { reply(std::move(value)); }, [this] { down(); },
                [this] { send(nullptr); }}) {
  session_.open();
}

Task<Result<RespValue>> RedisCommands::run(std::string command) {
  if (session_.state() == State::away) co_return fail(Errc::unavailable, session_.trouble());
  if (sent_.size() + unsent_.size() >= limits_.max_waiting)
    co_return fail(Errc::unavailable, "more than " + std::to_string(limits_.max_waiting) + " commands wait for Redis");
  if (session_.unsent_bytes() + command.size() > limits_.max_unsent_bytes)
    co_return fail(Errc::unavailable, "Redis is slow to take what is sent to it");
  auto until = clock_.now() + times_.answer;
  auto call = std::make_shared<Call>(std::move(command));
  send(call);
  while (!call->answer) {
    auto in_time = co_await call->answered.wait(clock_, until);
    if (!in_time && !call->answer) {
      std::erase(unsent_, call);
      co_return fail(Errc::unavailable, "Redis has not answered within " + format_duration(times_.answer));
    }
  }
  co_return *std::move(call->answer);
}

/// Without a call: a question whether Redis is there.
void RedisCommands::send(std::shared_ptr<Call> call) {
  static const std::string ping = resp_command({"PING"});
  if (session_.state() != State::up) return unsent_.push_back(std::move(call));
  session_.send(call ? call->command : ping);
  if (call) call->command.clear();
  sent_.push_back(std::move(call));
  session_.owed(true);
}

void RedisCommands::up() {
  for (auto& call : std::exchange(unsent_, {})) send(std::move(call));
}

void RedisCommands::reply(RespValue value) {
  if (sent_.empty()) return session_.renew("it answers what was not asked");
  auto call = std::move(sent_.front());
  sent_.pop_front();
  session_.owed(!sent_.empty());
  if (!call) return;
  call->answer = std::move(value);
  call->answered.notify();
}

void RedisCommands::down() {
  for (auto* calls : {&sent_, &unsent_})
    for (auto& call : std::exchange(*calls, {})) {
      if (!call) continue;
      call->answer = fail(Errc::unavailable, session_.trouble());
      call->answered.notify();
    }
}

}  // namespace mayfly
