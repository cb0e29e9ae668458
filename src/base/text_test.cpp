#include "base/text.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

using namespace std::string_literals;

TEST(Utf8, IsWhatTheStandardSays) {
  for (auto good : {"", "plain", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "Grüße 🙂"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (auto bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x99"})
    EXPECT_FALSE(is_utf8(bad));
}

TEST(CleanText, KeepsWhatIsTextAndReplacesWhatIsNot) {
  EXPECT_EQ(clean_text("Grüße 🙂"), "Grüße 🙂");
  EXPECT_EQ(clean_text("Gr\xFC\xDF" "e"), "Gr\xEF\xBF\xBD\xEF\xBF\xBD" "e") << "Latin-1, as old commits have it";
  EXPECT_EQ(clean_text("a\0b"s), "a\xEF\xBF\xBD" "b");
  EXPECT_EQ(clean_text("end\xE2\x82"), "end\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(CleanText, IsAlwaysUtf8WithoutNul) {
  for (int first = 0; first < 256; ++first)
    for (int second = 0; second < 256; ++second) {
      auto clean = clean_text({char(first), char(second), 'x'});
      ASSERT_TRUE(is_utf8(clean)) << first << " " << second;
      ASSERT_EQ(clean.find('\0'), std::string::npos);
    }
}

}  // namespace
}  // namespace mayfly
