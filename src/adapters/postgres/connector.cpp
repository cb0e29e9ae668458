#include "adapters/postgres/connector.h"

#include <boost/asio/post.hpp>

namespace mayfly::postgres {

Connector::Connector(Loop loop, std::string url, std::chrono::milliseconds timeout)
    : loop_(std::move(loop)), url_(std::move(url)), timeout_(timeout), thread_([this] { work(); }) {}

Connector::~Connector() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  interrupt_.raise();
  some_.notify_one();
  thread_.join();
}

void Connector::connect(SessionSettings settings, Answer answer) {
  {
    std::lock_guard lock(mutex_);
    wishes_.push_back({settings, std::move(answer)});
  }
  some_.notify_one();
}

void Connector::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    some_.wait(lock, [&] { return stopped_ || !wishes_.empty(); });
    if (stopped_) return;
    auto wish = std::move(wishes_.front());
    wishes_.pop_front();
    lock.unlock();
    auto made = postgres::connect(url_, wish.settings, &interrupt_, timeout_);
    boost::asio::post(loop_, [answer = std::move(wish.answer), made = std::move(made)]() mutable { answer(std::move(made)); });
  }
}

}  // namespace mayfly::postgres
