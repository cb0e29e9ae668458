#include "domain/logs/secret_forms.h"

#include <gmock/gmock.h>
#include <rapidcheck.h>

#include <algorithm>

#include "base/digest.h"

namespace mayfly {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;

TEST(SecretForms, HoldTheValueAndItsEncodings) {
  auto forms = secret_forms("p/s \"w\xC3\xBC?");
  EXPECT_THAT(forms, Contains("p/s \"w\xC3\xBC?"));
  EXPECT_THAT(forms, Contains("p%2Fs%20%22w%C3%BC%3F"));
  EXPECT_THAT(forms, Contains("p%2fs%20%22w%c3%bc%3f"));
  EXPECT_THAT(forms, Contains("p%2Fs+%22w%C3%BC%3F"));
  EXPECT_THAT(forms, Contains("p/s \\\"w\xC3\xBC?"));
  EXPECT_THAT(forms, Contains("p\\/s \\\"w\xC3\xBC?"));
  EXPECT_THAT(forms, Contains("p/s \\\"w\\u00fc?"));
  EXPECT_THAT(forms, Contains("p\\/s \\\"w\\u00FC?"));
  EXPECT_THAT(forms, Contains("702f73202277c3bc3f"));
  EXPECT_THAT(forms, Contains("702F73202277C3BC3F"));
}

TEST(SecretForms, EscapeCodePointsBeyondSixteenBitsAsJsonDoes) {
  EXPECT_THAT(secret_forms("key\xF0\x9F\x94\x91"), Contains("key\\ud83d\\udd11"));
}

TEST(SecretForms, SurviveBytesThatAreNotUtf8) { EXPECT_THAT(secret_forms("abc\xFF\xF0"), Contains("abc\xFF\xF0")); }

TEST(SecretForms, ShortValuesHaveNone) {
  EXPECT_THAT(secret_forms(""), IsEmpty());
  EXPECT_THAT(secret_forms("abc"), IsEmpty());
  EXPECT_THAT(secret_forms("abcd"), Contains("abcd"));
}

TEST(SecretForms, EachLineOfAKeyFileIsSecretButNotItsDashes) {
  auto forms = secret_forms("-----BEGIN KEY-----\r\nMIIEpAIBAAKC\nabc\n-----\nxyz1\n");
  EXPECT_THAT(forms, Contains("-----BEGIN KEY-----"));
  EXPECT_THAT(forms, Contains("MIIEpAIBAAKC"));
  EXPECT_THAT(forms, Contains("xyz1"));
  EXPECT_THAT(forms, Not(Contains("abc"))) << "too short";
  EXPECT_THAT(forms, Not(Contains("-----")));
}

TEST(SecretForms, OfAnySecretAreFoundInAnyBase64ThatHoldsIt) {
  EXPECT_TRUE(rc::check([](std::string before, std::string after) {
    auto secret = *rc::gen::suchThat(rc::gen::string<std::string>(), [](const auto& s) { return s.size() >= min_masked_bytes; });
    auto forms = secret_forms(secret);
    for (auto& text : {to_base64(before + secret + after), to_base64url(before + secret + after)}) {
      bool found = std::ranges::any_of(forms, [&](auto& f) { return text.find(f) != text.npos; });
      RC_ASSERT(found);
    }
  }));
}

TEST(SecretForms, AreLongEnoughAndNeverTwiceTheSame) {
  EXPECT_TRUE(rc::check([](std::string secret) {
    auto forms = secret_forms(secret);
    for (auto& f : forms) RC_ASSERT(f.size() >= min_masked_bytes);
    RC_ASSERT(std::ranges::adjacent_find(forms) == forms.end());
    RC_ASSERT(std::ranges::is_sorted(forms));
  }));
}

}  // namespace
}  // namespace mayfly
