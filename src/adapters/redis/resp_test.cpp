#include "adapters/redis/resp.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

using Kind = RespValue::Kind;
using namespace std::string_literals;
using namespace std::string_view_literals;

/// All values of a text fed in pieces of `piece` bytes, then "…" and the error if there was one.
std::vector<std::string> read(std::string_view text, std::size_t piece, RespLimits limits = {}) {
  RespReader reader(limits);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    reader.feed(text.substr(at, piece));
    for (;;) {
      auto value = reader.next();
      if (!value) {
        out.push_back("…" + std::string(to_string(value.error().code)));
        return out;
      }
      if (!*value) break;
      out.push_back(to_resp(**value));
    }
  }
  return out;
}

std::string error_of(std::string_view text, RespLimits limits = {}) {
  auto values = read(text, text.size(), limits);
  return values.empty() ? "nothing" : values.back();
}

TEST(Resp, EveryKindIsReadWhereverItIsSplit) {
  auto text = "+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\nb\0\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n*1\r\n:1\r\n$-1\r\n*0\r\n"s;
  auto whole = read(text, text.size());
  EXPECT_EQ(whole.size(), 7u);
  for (std::size_t piece = 1; piece < text.size(); ++piece) EXPECT_EQ(read(text, piece), whole) << piece;
  std::string joined;
  for (auto& value : whole) joined += value;
  EXPECT_EQ(joined, text);
}

TEST(Resp, ANullListIsNull) {
  RespReader reader;
  reader.feed("*-1\r\n");
  auto value = reader.next();
  ASSERT_TRUE(value && *value);
  EXPECT_EQ((*value)->kind, Kind::null);
}

TEST(Resp, WhatIsNotRespIsAnErrorAndNeverAValue) {
  for (auto* text : {"\r\n", "?1\r\n", "HTTP/1.1 400 Bad Request\r\n", ":\r\n", ":1x\r\n", ":99999999999999999999\r\n", "$-2\r\n", "*-2\r\n", "$1\r\nabc\r\n", "$x\r\n", "*\r\n"})
    EXPECT_EQ(error_of(text), "…corrupt") << text;
}

TEST(Resp, LimitsHoldAtTheLimitAndOnePast) {
  RespLimits small{.max_line_bytes = 8, .max_value_bytes = 10, .max_items = 3, .max_depth = 2};
  EXPECT_EQ(error_of("+1234567\r\n", small), "+1234567\r\n");
  EXPECT_EQ(error_of("+12345678\r\n", small), "…too_large");
  EXPECT_EQ(read("+1234567\r\n", 1, small), std::vector<std::string>{"+1234567\r\n"}) << "half of its end is no part of it";
  EXPECT_EQ(error_of("+12345678", small), "…too_large") << "without waiting for the line's end";
  EXPECT_EQ(error_of("$10\r\n0123456789\r\n", small), "$10\r\n0123456789\r\n");
  EXPECT_EQ(error_of("$11\r\n", small), "…too_large");
  EXPECT_EQ(error_of("*2\r\n$5\r\n01234\r\n$6\r\n", small), "…too_large");
  EXPECT_EQ(error_of("*3\r\n:1\r\n:2\r\n:3\r\n", small), "*3\r\n:1\r\n:2\r\n:3\r\n");
  EXPECT_EQ(error_of("*4\r\n", small), "…too_large");
  EXPECT_EQ(error_of("*3\r\n*2\r\n:1\r\n:2\r\n:3\r\n", small), "…too_large") << "items of inner lists count";
  EXPECT_EQ(error_of("*1\r\n*1\r\n:1\r\n", small), "*1\r\n*1\r\n:1\r\n");
  EXPECT_EQ(error_of("*1\r\n*1\r\n*1\r\n", small), "…too_large");
}

TEST(Resp, LimitsAreOfOneValue) {
  RespLimits small{.max_value_bytes = 4};
  EXPECT_EQ(read("$4\r\n0123\r\n$4\r\n0123\r\n", 3, small).size(), 2u);
}

TEST(Resp, ACommandIsAListOfBulks) {
  EXPECT_EQ(resp_command({"SET", "k", "\0\r\n"sv}), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n\0\r\n\r\n"s);
}

}  // namespace
}  // namespace mayfly
