#include "net/content_encoding.h"

#include <zlib.h>

#include <algorithm>
#include <array>

namespace mayfly::http {
namespace {

constexpr std::size_t step_bytes = 16 << 10;
constexpr std::array<std::string_view, 3> codings{"gzip", "x-gzip", "deflate"};
constexpr int any_wrapper = 15 + 32;  // zlib's: its largest window, and gzip or zlib as the first bytes say

class Unpacking final : public BodyReader {
 public:
  Unpacking(BodyReader& body, std::uint64_t max_bytes) : body_(body), limit_(max_bytes) {
    if (::inflateInit2(&zlib_, any_wrapper) != Z_OK) throw std::bad_alloc();
  }
  ~Unpacking() override { ::inflateEnd(&zlib_); }
  Unpacking(const Unpacking&) = delete;
  Unpacking& operator=(const Unpacking&) = delete;

  bool at_end() const override { return ended_ && !failure_; }
  std::optional<std::uint64_t> length() const override { return std::nullopt; }

  Task<Result<std::size_t>> read(std::span<char> into) override {
    if (failure_) co_return std::unexpected(*failure_);
    if (into.empty() || ended_) co_return 0;
    auto n = co_await unpack(into);
    if (n && (total_ += *n) > limit_)
      n = fail(Errc::too_large, "the body unpacks to more than " + std::to_string(limit_) + " bytes", "Send less at once");
    if (!n) failure_ = n.error();
    co_return n;
  }

 private:
  Task<Result<std::size_t>> unpack(std::span<char> into) {
    while (true) {
      if (zlib_.avail_in == 0) CO_TRY(co_await fill());
      bool nothing_left = zlib_.avail_in == 0;
      CO_TRY_ASSIGN(auto produced, step(into));
      if (ended_) CO_TRY(co_await expect_end());
      if (produced > 0 || ended_) co_return produced;
      if (nothing_left) co_return fail(Errc::invalid, "the compressed body ends too early");
    }
  }

  Result<std::size_t> step(std::span<char> into) {
    zlib_.next_out = reinterpret_cast<Bytef*>(into.data());
    zlib_.avail_out = uInt(std::min(into.size(), step_bytes));
    auto room = zlib_.avail_out;
    auto code = ::inflate(&zlib_, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
      return fail(Errc::invalid, std::string("the body is not what Content-Encoding says: ") + (zlib_.msg ? zlib_.msg : "no gzip or zlib"));
    ended_ = code == Z_STREAM_END;
    return room - zlib_.avail_out;
  }

  Task<Result<void>> fill() {
    CO_TRY_ASSIGN(auto n, co_await body_.read(packed_));
    zlib_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    zlib_.avail_in = uInt(n);
    co_return Result<void>{};
  }

  Task<Result<void>> expect_end() {
    if (zlib_.avail_in == 0) CO_TRY(co_await fill());
    if (zlib_.avail_in > 0) co_return fail(Errc::invalid, "bytes follow the compressed body");
    co_return Result<void>{};
  }

  BodyReader& body_;
  std::uint64_t limit_;
  std::uint64_t total_ = 0;
  ::z_stream zlib_{};
  bool ended_ = false;
  std::optional<Error> failure_;
  std::array<char, step_bytes> packed_;
};

}  // namespace

bool is_known_encoding(std::string_view content_encoding) {
  return std::ranges::any_of(codings, [&](auto coding) { return equal_ignoring_case(content_encoding, coding); });
}

std::unique_ptr<BodyReader> unpacked(BodyReader& body, std::uint64_t max_bytes) { return std::make_unique<Unpacking>(body, max_bytes); }

}  // namespace mayfly::http
