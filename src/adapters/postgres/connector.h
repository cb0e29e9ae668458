#pragma once
// Connections are made on one thread of their own: name look-ups, TLS and the session's first statements would hold up the
// loop. There is one for all connections of a pool.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "adapters/postgres/session.h"
#include "async/task.h"

namespace mayfly::postgres {

class Connector final {
 public:
  using Answer = std::move_only_function<void(Result<ConnectionPtr>)>;

  Connector(Loop loop, std::string url, std::chrono::milliseconds timeout);
  /// Breaks off what is under way; answers that have not come do not come any more.
  ~Connector();

  /// Answers on the loop.
  void connect(SessionSettings settings, Answer answer);

 private:
  struct Wish {
    SessionSettings settings;
    Answer answer;
  };
  void work();

  Loop loop_;
  const std::string url_;
  const std::chrono::milliseconds timeout_;
  Interrupt interrupt_;
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<Wish> wishes_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace mayfly::postgres
