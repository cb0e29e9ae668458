#include "adapters/git/utf8.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

TEST(Utf8, KeepsWhatIsWellFormed) {
  for (auto text : {"", "plain", "\u00e9\u20ac\U0001F600", "\u07ff\u0800\uffff\U0010ffff"}) EXPECT_EQ(to_utf8(text), text);
}

TEST(Utf8, ReplacesEveryByteThatIsPartOfNoCharacter) {
  EXPECT_EQ(to_utf8("caf\xe9!"), "caf\ufffd!");
  EXPECT_EQ(to_utf8("\x80\xff"), "\ufffd\ufffd");
  EXPECT_EQ(to_utf8("\xc0\xaf"), "\ufffd\ufffd") << "overlong";
  EXPECT_EQ(to_utf8("\xe0\x80\x80"), "\ufffd\ufffd\ufffd") << "overlong";
  EXPECT_EQ(to_utf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd") << "a surrogate";
  EXPECT_EQ(to_utf8("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd") << "past the last character";
  EXPECT_EQ(to_utf8("\xf0\x9f\x98"), "\ufffd\ufffd\ufffd") << "cut short";
}

}  // namespace
}  // namespace mayfly
