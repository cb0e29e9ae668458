#include "net/url.h"

#include <gtest/gtest.h>

#include "net/range.h"

namespace mayfly::http {
namespace {

TEST(Url, ReadsWhatAClientIsGiven) {
  EXPECT_EQ(*parse_url("http://Example.org"), (Url{.scheme = "http", .host = "example.org", .port = 80}));
  EXPECT_EQ(*parse_url("HTTPS://h:8443/a%20b?x=1#part"),
            (Url{.scheme = "https", .host = "h", .port = 8443, .target = "/a%20b?x=1"}));
  EXPECT_EQ(*parse_url("https://[::1]?q"), (Url{.scheme = "https", .host = "::1", .port = 443, .target = "/?q"}));
  EXPECT_EQ(*parse_url("unix:/run/docker.sock:/v1.41/info?a:b"),
            (Url{.scheme = "unix", .socket_path = "/run/docker.sock", .target = "/v1.41/info?a:b"}));
  EXPECT_EQ(parse_url("unix:/run/docker.sock")->target, "/");
}

TEST(Url, RefusesWhatCouldMeanTwoThings) {
  for (auto text : {"", "h/p", "ftp://h/", "http://", "http://user:pw@h/", "http://h:0/", "http://h:65536/", "http://h:8x/",
                    "http://h /", "http://h/a b", "http://h/\r\nX: y", "http://[::1/", "http://[h]/", "http://h/%zz", "http://h/%2",
                    "http://h_\\/", "unix:relative", "http://[::1]8080/"}) {
    auto url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, Errc::invalid) << text;
  }
  EXPECT_TRUE(parse_url("http://h/" + std::string(kMaxUrlBytes - 9, 'a')));
  EXPECT_FALSE(parse_url("http://h/" + std::string(kMaxUrlBytes - 8, 'a')));
}

TEST(Url, IsWrittenAsItWasRead) {
  for (std::string text : {"http://h/", "https://[::1]:1/x?y=z", "http://h:8080/%41", "unix:/s:/t"})
    EXPECT_EQ(to_string(*parse_url(text)), text);
  EXPECT_EQ(host_field(*parse_url("http://[::1]:8080/")), "[::1]:8080");
  EXPECT_EQ(host_field(*parse_url("https://h:443/")), "h");
  EXPECT_EQ(host_field(*parse_url("https://h:80/")), "h:80");
}

TEST(Percent, DecodesAndEncodesEveryByte) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(*percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_encode("a/b c+é~"), "a%2Fb%20c%2B%C3%A9~");
  EXPECT_EQ(percent_encode("a/b c", "/"), "a/b%20c");
  EXPECT_EQ(*percent_decode("a%2fb+%C3%A9"), "a/b+é");
}

TEST(Percent, AWrongEscapeIsAnError) {
  for (auto text : {"%", "a%", "%4", "%4g", "%g4", "%%41", "%00"}) EXPECT_FALSE(percent_decode(text)) << text;
  EXPECT_FALSE(percent_decode(std::string_view("a\0b", 3)));
}

TEST(Query, KeepsOrderAndRepetitions) {
  auto query = parse_query("a=1&b=x+y%26&a=2&flag&=v&&c=d=e");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->pairs, (std::vector<std::pair<std::string, std::string>>{
                              {"a", "1"}, {"b", "x y&"}, {"a", "2"}, {"flag", ""}, {"", "v"}, {"c", "d=e"}}));
  EXPECT_EQ(query->get("a"), "1");
  EXPECT_EQ(query->get("A"), std::nullopt);
  EXPECT_EQ(*parse_query(build_query(*query)), *query);
  EXPECT_FALSE(parse_query("a=%"));
}

TEST(Query, HasALimit) {
  std::string text;
  for (std::size_t i = 0; i < kMaxQueryPairs; ++i) text += "a&";
  EXPECT_EQ(parse_query(text)->pairs.size(), kMaxQueryPairs);
  auto more = parse_query(text + "b");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::too_large);
}

TEST(Range, IsReadAgainstTheSize) {
  using enum RangeKind;
  EXPECT_EQ(parse_range("bytes=0-99", 1000), (Range{satisfiable, 0, 99}));
  EXPECT_EQ(parse_range("bytes=100-", 1000), (Range{satisfiable, 100, 999}));
  EXPECT_EQ(parse_range("bytes=-50", 1000), (Range{satisfiable, 950, 999}));
  EXPECT_EQ(parse_range("bytes=-5000", 1000), (Range{satisfiable, 0, 999}));
  EXPECT_EQ(parse_range("Bytes=999-5000", 1000), (Range{satisfiable, 999, 999}));
  EXPECT_EQ(parse_range("bytes=0-99999999999999999999999", 10), (Range{satisfiable, 0, 9}));
  EXPECT_EQ(parse_range("bytes=0-0", 1).length(), 1u);
}

TEST(Range, PastTheEndOrEmptyCannotBeSatisfied) {
  for (auto text : {"bytes=1000-", "bytes=1000-1001", "bytes=99999999999999999999999-", "bytes=-0"})
    EXPECT_EQ(parse_range(text, 1000).kind, RangeKind::unsatisfiable) << text;
  EXPECT_EQ(parse_range("bytes=0-", 0).kind, RangeKind::unsatisfiable);
  EXPECT_EQ(parse_range("bytes=-1", 0).kind, RangeKind::unsatisfiable);
}

TEST(Range, WhatIsNotOneByteRangeIsIgnored) {
  EXPECT_EQ(parse_range(std::nullopt, 10).kind, RangeKind::ignored);
  for (auto text : {"", "bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=0x0-1",
                    "bytes= 0-1", "bytes=+1-2", "bytes=--1"})
    EXPECT_EQ(parse_range(text, 10).kind, RangeKind::ignored) << text;
}

TEST(Range, IsAnsweredWithItsPlace) {
  EXPECT_EQ(content_range(parse_range("bytes=-1", 1234), 1234), "bytes 1233-1233/1234");
  EXPECT_EQ(unsatisfied_content_range(7), "bytes */7");
}

}  // namespace
}  // namespace mayfly::http
