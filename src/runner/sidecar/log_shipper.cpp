#include "runner/sidecar/log_shipper.h"

#include <algorithm>

#include "base/log.h"

namespace mayfly {
namespace {

/// Between questions that brought nothing new.
Duration patience(int refused) { return std::min<Duration>(std::chrono::seconds(1), std::chrono::milliseconds(5) * (1 << std::min(refused, 8))); }

}  // namespace

void LogShipper::end() {
  ended_ = true;
  wake_.notify();
  over_.notify();
}

void LogShipper::durable(std::int64_t offset) {
  if (offset <= durable_) return;
  durable_ = offset;
  file_.forget(offset);
}

Task<Result<void>> LogShipper::run() {
  for (;;) {
    bool ended = ended_;  // as of before the look: what comes after it is seen by the next one
    CO_TRY_ASSIGN(auto batch, file_.next());
    if (!batch.frames.empty()) {
      CO_TRY(co_await ship(std::move(batch)));
      if (!ended) co_await over_.wait(clock_, clock_.now() + log_ship_interval);
    } else if (!ended) {
      CO_TRY(co_await ask_when_in_doubt());
      co_await wake_.wait(clock_, clock_.now() + log_look_interval);
    } else if (lines_) {
      CO_TRY(co_await take_over());
    } else {
      co_return Result<void>{};
    }
  }
}

/// What the other shipper has not brought is ours to bring; what both bring is taken once.
Task<Result<void>> LogShipper::take_over() {
  lines_.reset();
  CO_TRY(co_await ask());
  co_return Result<void>{};
}

/// What does the server want next? The file goes back to it if that was sent before.
Task<Result<void>> LogShipper::ask() {
  CO_TRY_ASSIGN(auto answer, co_await api_.logs({}));
  answered_ = clock_.now();
  durable(answer.durable);
  if (answer.next < file_.position()) CO_TRY(file_.rewind(answer.next));
  co_return Result<void>{};
}

Task<Result<bool>> LogShipper::lacks() {
  auto sent = file_.position();
  CO_TRY(co_await ask());
  if (durable_ >= sent) co_return false;
  // Another gateway may not know yet what is missing: from what is durable on, nothing can be.
  if (file_.position() == sent) CO_TRY(file_.rewind(durable_));
  co_return true;
}

/// A log that has fallen silent: were its last bytes lost, nothing else would tell.
Task<Result<void>> LogShipper::ask_when_in_doubt() {
  bool in_doubt = !lines_ && durable_ < file_.position() && clock_.now() - answered_ >= log_doubt_interval;
  if (in_doubt) CO_TRY(co_await ask());
  co_return Result<void>{};
}

Task<Result<void>> LogShipper::ship(LogBatch batch) {
  if (lines_) {
    auto written = lines_->write(batch);
    if (written) co_return Result<void>{};
    log_warn("the log is shipped by the runner itself", {{"why", written.error().message}});
    co_return co_await take_over();
  }
  auto before = durable_;
  CO_TRY_ASSIGN(auto answer, co_await api_.logs(std::move(batch.frames)));
  answered_ = clock_.now();
  if (answer.next > 0 && !first_byte_at_) first_byte_at_ = answered_;
  durable(answer.durable);
  bool progress = answer.next > batch.begin || durable_ > before;
  refused_ = progress ? 0 : refused_ + 1;
  if (answer.next < batch.end) {
    CO_TRY(file_.rewind(answer.next));
    if (!progress) co_await sleep_for(clock_, patience(refused_));
  }
  co_return Result<void>{};
}

}  // namespace mayfly
