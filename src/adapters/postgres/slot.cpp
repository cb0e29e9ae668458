#include "adapters/postgres/slot.h"

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>

#include "base/log.h"

namespace mayfly::postgres {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds first_pause = 25ms, longest_pause = 2s;

}  // namespace

struct Slot::Pause {
  using Timer = boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Loop>;
  Timer timer;
};

std::shared_ptr<Slot> Slot::make(Loop loop, Connector& connector, SessionSettings settings, std::function<void()> on_change) {
  return std::shared_ptr<Slot>(new Slot(std::move(loop), connector, settings, std::move(on_change)));
}

Slot::Slot(Loop loop, Connector& connector, SessionSettings settings, std::function<void()> on_change)
    : loop_(std::move(loop)), connector_(connector), settings_(settings), on_change_(std::move(on_change)),
      pause_(new Pause{Pause::Timer(loop_)}) {}

Slot::~Slot() = default;

void Slot::start(ConnectionPtr connection) {
  if (connection) fill(std::move(connection));
  else connect();
}

void Slot::stop() {
  stopped_ = true;
  pause_->timer.cancel();
  if (auto link = std::exchange(link_, nullptr)) link->close({Errc::unavailable, "database: it was closed", {}});
}

void Slot::connect() {
  connector_.connect(settings_, [weak = weak_from_this()](Result<ConnectionPtr> made) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    if (!made) return self->try_later(std::move(made).error());
    self->fill(*std::move(made));
    self->on_change_();
  });
}

void Slot::fill(ConnectionPtr connection) {
  if (next_pause_ >= longest_pause) log_info("database: connected again");
  next_pause_ = {};
  link_ = Link::make(loop_, std::move(connection), [weak = weak_from_this()](const Error& why) {
    if (auto self = weak.lock(); self && !self->stopped_) self->lost(why);
  });
}

void Slot::lost(const Error& why) {
  link_.reset();
  down_since_ = Clock::now();
  why_ = why;
  connect();
  on_change_();
}

void Slot::try_later(Error why) {
  why_ = std::move(why);
  why_.code = Errc::unavailable;
  next_pause_ = next_pause_ == 0ms ? first_pause : next_pause_ * 2;
  if (next_pause_ >= longest_pause) {
    next_pause_ = longest_pause;
    log_warn("database: still not connected", {{"why", why_.message}});
  }
  pause_->timer.expires_after(next_pause_);
  pause_->timer.async_wait([weak = weak_from_this()](auto ec) {
    if (auto self = weak.lock(); self && !ec && !self->stopped_) self->connect();
  });
  on_change_();
}

}  // namespace mayfly::postgres
