#include "domain/logs/masker.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>

#include "base/digest.h"
#include "domain/logs/naive_mask.h"
#include "domain/logs/secret_forms.h"

namespace mayfly {
namespace {

std::string mask_pieces(const std::shared_ptr<const MaskPatterns>& patterns, const std::vector<std::string_view>& pieces) {
  Masker masker(patterns);
  std::string out;
  for (auto piece : pieces) masker.feed(piece, out);
  masker.finish(out);
  return out;
}

std::string mask(const std::vector<std::string>& secrets, std::string_view text) {
  return mask_pieces(MaskPatterns::make(secrets), {text});
}

TEST(Masker, HidesAValueWhereverItStands) {
  EXPECT_EQ(mask({"hunter2"}, "hunter2 and hunter2, hunter"), "*** and ***, hunter");
  EXPECT_EQ(mask({"hunter2"}, ""), "");
  EXPECT_EQ(mask({}, "nothing to hide"), "nothing to hide");
}

TEST(Masker, HidesWhatOverlapsAsOne) {
  EXPECT_EQ(mask({"abcdef", "defghi"}, "<abcdefghi>"), "<***>");
  EXPECT_EQ(mask({"abcdef", "bcde"}, "<abcdef> <bcdef>"), "<***> <***f>");
  EXPECT_EQ(mask({"abab"}, "abababab!"), "***!");
  EXPECT_EQ(mask({"abcd"}, "abcdabcd"), "******") << "two values beside each other are two";
}

TEST(Masker, HidesTheEncodingsPeopleLeak) {
  std::string secret = "s3cr3t/p@ss w\xC3\xB6rd";
  for (auto& form : secret_forms(secret)) EXPECT_EQ(mask({secret}, "[" + form + "]"), "[***]") << form;
  auto text = to_base64("user:" + secret + "\n");
  auto masked = mask({secret}, text);
  EXPECT_THAT(masked, testing::HasSubstr("***"));
  EXPECT_LE(masked.size(), 15u) << masked;
}

TEST(Masker, HidesEachLineOfAKeyFile) {
  EXPECT_EQ(mask({"first line\nsecond line\n"}, "> second line\n> first line\n"), "> ***\n> ***\n");
}

TEST(Masker, SaysWhichValuesItCannotHide) {
  std::string huge(max_masked_pattern_bytes, 'q');
  auto patterns = MaskPatterns::make({"abc", "long enough", "", huge});
  EXPECT_THAT(patterns->refused(), testing::ElementsAre(0, 2, 3));
  EXPECT_EQ(mask_pieces(patterns, {"abc long enough"}), "abc ***");
}

TEST(Masker, DoesNotCareWhereTheTextIsCut) {
  struct Case { std::vector<std::string> secrets; std::string text; };
  const Case cases[] = {
      {{"aab"}, "xaaaby"}, {{"abab1"}, "abaababab1ab"}, {{"hunter2hunter2!"}, "hunter2hunter2hunter2!hunter2"},
      {{"aaaa"}, "aaaaaaaaab"}, {{"abcd", "cdef", "bcde"}, "abcabcdefabcd"}, {{"aab", "ab", "b"}, "aaabbab"},
      {{"she", "hers", "his", "he"}, "ushershishe"},
  };
  for (auto& [secrets, text] : cases) {
    auto patterns = MaskPatterns::of_literals(secrets);
    auto expected = naive_mask(secrets, text);
    for (std::size_t i = 0; i <= text.size(); ++i)
      for (std::size_t j = i; j <= text.size(); ++j) {
        auto view = std::string_view(text);
        ASSERT_EQ(mask_pieces(patterns, {view.substr(0, i), view.substr(i, j - i), view.substr(j)}), expected)
            << text << " cut at " << i << " and " << j;
      }
  }
}

TEST(Masker, NeverLeaksASecretAtAnyCutOfAnyForm) {
  for (std::string secret : {"aabaab", "hunter2hunter2!", "q+/=\"\\ \n wxyz", "-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n"}) {
    auto patterns = MaskPatterns::make({secret});
    for (auto& form : secret_forms(secret)) {
      auto text = "xa" + form + "ay";
      auto whole = mask_pieces(patterns, {text});
      ASSERT_EQ(whole.find(form), whole.npos);
      for (std::size_t cut = 0; cut <= text.size(); ++cut)
        ASSERT_EQ(mask_pieces(patterns, {std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)}), whole)
            << form << " cut at " << cut;
    }
  }
}

TEST(Masker, HoldsBackOnlyWhatMayBecomeASecret) {
  auto patterns = MaskPatterns::of_literals({"hunter2", "ter2xyz"});
  Masker masker(patterns);
  std::string out;
  masker.feed("password: hun", out);
  EXPECT_EQ(out, "password: ");
  EXPECT_EQ(masker.held(), 3u);
  masker.feed("ter", out);
  EXPECT_EQ(out, "password: ");
  masker.feed("7\n", out);
  EXPECT_EQ(out, "password: hunter7\n");
  EXPECT_EQ(masker.held(), 0u);
  masker.feed("hunter2x", out);
  EXPECT_EQ(out, "password: hunter7\n***") << "said once; the rest may still belong to it";
  masker.feed("yz.", out);
  EXPECT_EQ(out, "password: hunter7\n***.");
}

TEST(Masker, AgreesWithTheNaiveOneOnAnything) {
  auto letters = rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c'));
  auto secret = rc::gen::suchThat(letters, [](const auto& s) { return !s.empty(); });
  EXPECT_TRUE(rc::check([&] {
    auto secrets = *rc::gen::container<std::vector<std::string>>(secret);
    auto pieces = *rc::gen::container<std::vector<std::string>>(letters);
    std::string text;
    for (auto& piece : pieces) text += piece;
    RC_ASSERT(mask_pieces(MaskPatterns::of_literals(secrets), {pieces.begin(), pieces.end()}) == naive_mask(secrets, text));
  }));
}

}  // namespace
}  // namespace mayfly
