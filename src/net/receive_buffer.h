#pragma once
// Bytes received and not yet parsed. It starts small, because most connections of a server are idle, and grows while its
// reads come back full, because a large body costs a system call a read. Internal to net.

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "net/stream.h"

namespace mayfly::http {

class ReceiveBuffer final {
 public:
  static constexpr std::size_t kFirstBytes = 4 * 1024;
  static constexpr std::size_t kFastBytes = 64 * 1024;  // growth for speed ends here; pending bytes may need more

  std::string_view pending() const { return {data_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t n) { begin_ += n; }

  /// Receives more behind what is pending; 0 when the peer has ended its side. Whoever parses refuses what stays pending past a
  /// limit, so the buffer has one too.
  Task<Result<std::size_t>> fill(Stream& stream) {
    make_room();
    auto n = co_await stream.read_some({data_.get() + end_, size_ - end_});
    was_full_ = n && *n == size_ - end_;
    if (n) end_ += *n;
    co_return n;
  }

  /// Gives memory back while nothing is pending.
  void shrink() {
    if (size_ > kFirstBytes && begin_ == end_) *this = {};
  }
  /// All of it, where nothing will be received for long.
  void release() {
    if (begin_ != end_) return;
    data_.reset();
    size_ = begin_ = end_ = 0;
  }

 private:
  void make_room() {
    if (begin_ == end_) begin_ = end_ = 0;
    if (size_ == 0) {
      *this = {};
      return;
    }
    if ((was_full_ && size_ < kFastBytes) || (begin_ == 0 && end_ == size_)) return resize(size_ * 2);
    if (end_ < size_) return;
    std::memmove(data_.get(), data_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }

  void resize(std::size_t size) {
    auto grown = std::make_unique_for_overwrite<char[]>(size);
    std::memcpy(grown.get(), data_.get() + begin_, end_ - begin_);
    data_ = std::move(grown);
    end_ -= begin_;
    begin_ = 0;
    size_ = size;
  }

  std::size_t size_ = kFirstBytes;
  std::unique_ptr<char[]> data_ = std::make_unique_for_overwrite<char[]>(kFirstBytes);
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool was_full_ = false;
};

}  // namespace mayfly::http
