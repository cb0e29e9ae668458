#include "runner/init/kv_file.h"

#include <gmock/gmock.h>

#include "domain/runner/protocol.h"

namespace mayfly {
namespace {

using Values = std::map<std::string, std::string>;

TEST(KeyValues, AreLines) {
  auto got = parse_key_values("A=1\n\n_b2=x=y \r\nEMPTY=\nA=2");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(*got, (Values{{"A", "2"}, {"_b2", "x=y "}, {"EMPTY", ""}}));
  EXPECT_EQ(*parse_key_values(""), Values{});
}

TEST(KeyValues, OfSeveralLinesEndAtTheirWord) {
  auto got = parse_key_values("NOTES<<END\nfirst=1\n\n END\nEND\nAFTER=yes\nNONE<<END\nEND\n");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(*got, (Values{{"NOTES", "first=1\n\n END"}, {"AFTER", "yes"}, {"NONE", ""}}));
}

TEST(KeyValues, MayHoldArrowsInAPlainValue) { EXPECT_EQ(*parse_key_values("A=x<<y"), (Values{{"A", "x<<y"}})); }

TEST(KeyValues, SayWhichLineIsWrong) {
  auto message = [](std::string_view text) {
    auto got = parse_key_values(text);
    return got ? "accepted" : got.error().message;
  };
  EXPECT_EQ(message("A=1\nnonsense\n"), "line 2: there is no '='");
  EXPECT_EQ(message("1A=1"), "line 1: the key is not a name");
  EXPECT_EQ(message("=1"), "line 1: the key is not a name");
  EXPECT_EQ(message("A B=1"), "line 1: the key is not a name");
  EXPECT_EQ(message("A<<\nx\n"), "line 1: no word after '<<'");
  EXPECT_EQ(message("A<<EOF\nx\n"), "line 2: the value has no end line 'EOF'");
  EXPECT_EQ(message("A=\xFF\xFE"), "line 1: the value is not UTF-8 text");
  EXPECT_EQ(message("A=\xED\xA0\x80"), "line 1: the value is not UTF-8 text") << "a surrogate";
  EXPECT_EQ(message("A=\xC0\x80"), "line 1: the value is not UTF-8 text") << "an overlong form";
  EXPECT_EQ(message(std::string_view("A=x\0y", 5)), "line 1: the value is not UTF-8 text");
  EXPECT_EQ(message("A=gr\xC3\xBC\xC3\x9F \xF0\x9F\x94\x91"), "accepted");
}

TEST(KeyValues, AllowDashesInOutputsOnly) {
  EXPECT_TRUE(parse_key_values("image-tag=1", true));
  EXPECT_FALSE(parse_key_values("image-tag=1"));
}

TEST(KeyValues, HaveALimit) {
  std::string text = "A=";
  text.resize(max_step_output_bytes, 'x');
  EXPECT_TRUE(parse_key_values(text));
  text += 'x';
  auto got = parse_key_values(text);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::too_large);
}

}  // namespace
}  // namespace mayfly
