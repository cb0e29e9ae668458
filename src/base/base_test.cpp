#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/time.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

TEST(Time, GoesThroughRfc3339AndBack) {
  Time t = from_micros(1'767'225'599'123'456);
  EXPECT_EQ(to_rfc3339(t), "2025-12-31T23:59:59.123456Z");
  EXPECT_EQ(parse_rfc3339(to_rfc3339(t)), t);
  EXPECT_EQ(parse_rfc3339("2026-01-01T01:59:59.123456+02:00"), t);
}

TEST(Time, RefusesWhatIsNotATime) {
  for (auto text : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+0200"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

TEST(Duration, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_duration("90s"), Duration(90s));
  EXPECT_EQ(parse_duration("1h30m"), Duration(90min));
  EXPECT_EQ(parse_duration("500ms"), Duration(500ms));
  EXPECT_EQ(parse_duration("14d"), Duration(14 * 24h));
  EXPECT_EQ(parse_duration("20"), Duration(20s));
  for (auto text : {"", "m", "5x", "-3s", "1h5", "99999999999999999999s", "9999999d"}) EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Uuid, SortsByTheTimeItWasMade) {
  std::array<std::uint8_t, 10> high, low{};
  high.fill(0xff);
  auto first = uuid_v7(from_micros(1'000'000), high), second = uuid_v7(from_micros(1'001'000), low);
  EXPECT_LT(first, second);
  EXPECT_LT(to_string(first), to_string(second));
  EXPECT_EQ(parse_uuid(to_string(first)), first);
  EXPECT_EQ(to_string(first)[14], '7');
  EXPECT_FALSE(parse_uuid("0193a2f4"));
  EXPECT_FALSE(parse_uuid(std::string(36, '-')));
}

TEST(Digest, KnowsThePublishedVectors) {
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  Sha256Stream stream;
  stream.update("a");
  stream.update("bc");
  EXPECT_EQ(stream.digest(), sha256("abc"));
}

TEST(Base64, GoesBothWays) {
  for (std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(from_base64(to_base64(text)), text);
    EXPECT_EQ(from_base64(to_base64url(text)), text);
  }
  EXPECT_EQ(to_base64("fooba"), "Zm9vYmE=");
  EXPECT_FALSE(from_base64("a b"));
}

TEST(Json, LooksUpWithoutTrusting) {
  auto v = parse_json(R"({"a": {"b": "x", "n": 3}})");
  ASSERT_TRUE(v);
  EXPECT_EQ(find_string(*v, "a.b"), "x");
  EXPECT_EQ(find_int(*v, "a.n"), 3);
  EXPECT_FALSE(find_string(*v, "a.n"));
  EXPECT_FALSE(find_string(*v, "a.b.c"));
  EXPECT_FALSE(parse_json("{} x"));
  EXPECT_FALSE(parse_json(std::string(100, '[') + std::string(100, ']')));
}

}  // namespace
}  // namespace mayfly
