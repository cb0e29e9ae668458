#pragma once
// What waits for a worker thread, up to a limit.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

namespace mayfly::sqlite {

template <class Item>
class Queue final {
 public:
  Queue(std::size_t max_items, std::size_t max_bytes) : max_items_(max_items), max_bytes_(max_bytes) {}

  /// False when it is full. `item` stays the caller's, until a worker has answered it.
  bool push(Item* item) {
    std::unique_lock lock(mutex_);
    if (items_.size() >= max_items_ || bytes_ + item->bytes > max_bytes_) return false;
    bytes_ += item->bytes;
    items_.push_back(item);
    lock.unlock();
    some_.notify_one();
    return true;
  }

  /// Waits for items and takes up to `max` of them; none only after close().
  std::vector<Item*> pop(std::size_t max) {
    std::unique_lock lock(mutex_);
    some_.wait(lock, [&] { return closed_ || !items_.empty(); });
    std::vector<Item*> out;
    for (; !items_.empty() && out.size() < max; items_.pop_front()) {
      out.push_back(items_.front());
      bytes_ -= items_.front()->bytes;
    }
    return out;
  }

  void close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    some_.notify_all();
  }

 private:
  const std::size_t max_items_, max_bytes_;
  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<Item*> items_;
  std::size_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace mayfly::sqlite
