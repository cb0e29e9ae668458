#include "adapters/kafka/watch.h"

#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <stdexcept>

namespace mayfly::kafka {

namespace asio = boost::asio;

void post_to(const Loop& loop, std::move_only_function<void()> work) {
  asio::post(loop, [work = std::move(work)]() mutable { work(); });
}

struct QueueWatch::State : std::enable_shared_from_this<State> {
  asio::posix::basic_stream_descriptor<Loop> descriptor;
  std::function<void()> ready;

  State(Loop loop, int fd, std::function<void()> r) : descriptor(std::move(loop), fd), ready(std::move(r)) {}

  void wait() {
    descriptor.async_wait(descriptor.wait_read, [self = shared_from_this()](boost::system::error_code ec) {
      if (ec || !self->ready) return;
      std::uint64_t count;
      (void)!::read(self->descriptor.native_handle(), &count, sizeof count);
      auto ready = self->ready;  // which may destroy the watch
      ready();
      if (self->ready) self->wait();
    });
  }
};

QueueWatch::QueueWatch(Loop loop, rd_kafka_queue_t* queue, std::function<void()> ready) : queue_(queue) {
  int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw std::runtime_error("no descriptor is left for a Kafka queue");
  state_ = std::make_shared<State>(std::move(loop), fd, std::move(ready));
  constexpr std::uint64_t one = 1;
  rd_kafka_queue_io_event_enable(queue_, fd, &one, sizeof one);
  state_->wait();
}

QueueWatch::~QueueWatch() {
  rd_kafka_queue_io_event_enable(queue_, -1, nullptr, 0);
  state_->ready = nullptr;
  state_->descriptor.close();
}

struct Every::State : std::enable_shared_from_this<State> {
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Loop> timer;
  Duration after;
  std::function<void()> work;

  State(Loop loop, Duration a, std::function<void()> w) : timer(std::move(loop)), after(a), work(std::move(w)) {}

  void wait() {
    timer.expires_after(after);
    timer.async_wait([self = shared_from_this()](boost::system::error_code ec) {
      if (ec || !self->work) return;
      auto work = self->work;  // which may destroy the timer
      work();
      if (self->work) self->wait();
    });
  }
};

Every::Every(Loop loop, Duration after, std::function<void()> work)
    : state_(std::make_shared<State>(std::move(loop), after, std::move(work))) {
  state_->wait();
}

Every::~Every() {
  state_->work = nullptr;
  state_->timer.cancel();
}

Task<Result<void>> SharedCall::answer(Clock& clock, Time until, std::move_only_function<Result<void>()> call) {
  auto self = shared_from_this();
  if (!running_) {
    running_ = true;
    blocking_.post([self, call = std::move(call)]() mutable {
      auto answer = call();
      post_to(self->loop_, [self, answer = std::move(answer)]() mutable {
        self->running_ = false;
        self->answer_ = std::move(answer);
        self->answered_.notify();
      });
    });
  }
  while (running_)
    if (!co_await answered_.wait(clock, until)) co_return fail(Errc::unavailable, "Kafka does not answer");
  co_return answer_;
}

}  // namespace mayfly::kafka
