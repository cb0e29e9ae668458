#include "adapters/s3/names.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace mayfly::s3 {
namespace {

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> out{""};
  for (char c : path) {
    if (c == '/') out.emplace_back();
    else out.back() += c;
  }
  return out;
}

/// Every key of up to `length` of these characters.
std::vector<std::string> keys(std::size_t length) {
  std::vector<std::string> all{""}, out;
  for (std::size_t begin = 0, n = 0; n < length; ++n)
    for (std::size_t end = all.size(); begin < end; ++begin)
      for (char c : {'-', '.', '/', '0', 'z'}) all.push_back(all[begin] + c);
  for (auto& key : all)
    if (key_of(object_name(key))) out.push_back(key);
  return out;
}

TEST(S3Names, AreReadable) {
  EXPECT_EQ(object_name("logs/0193/0-1f"), "logs.~/0193.~/0-1f!");
  EXPECT_EQ(key_of("logs.~/0193.~/0-1f!"), "logs/0193/0-1f");
}

TEST(S3Names, KeepTheOrderOfKeysWhicheverWayAServerSorts) {
  auto sorted = keys(5);
  ASSERT_GT(sorted.size(), 1000u);
  std::ranges::sort(sorted);
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    auto before = object_name(sorted[i - 1]), after = object_name(sorted[i]);
    ASSERT_LT(before, after) << sorted[i - 1] << " " << sorted[i];
    ASSERT_LT(parts_of(before), parts_of(after)) << sorted[i - 1] << " " << sorted[i];
    ASSERT_EQ(key_of(after), sorted[i]);
  }
}

TEST(S3Names, NoObjectIsAFolderOfAnother) {
  std::set<std::string> files, folders;
  for (auto& key : keys(5)) {
    auto name = object_name(key);
    files.insert(name);
    for (auto at = name.find('/'); at != name.npos; at = name.find('/', at + 1)) folders.insert(name.substr(0, at));
  }
  for (auto& folder : folders) ASSERT_FALSE(files.contains(folder)) << folder;
}

TEST(S3Names, ThePrefixOfKeysIsOneOfTheirNames) {
  for (auto& key : keys(4))
    for (std::size_t n = 0; n <= key.size(); ++n)
      ASSERT_TRUE(object_name(key).starts_with(name_prefix(std::string_view(key).substr(0, n)))) << key;
}

TEST(S3Names, WhatIsNotOursHasNoKey) {
  for (auto* name : {"", "!", "a", "a/b!", "a.~/!", "a!b!", "../a!", "a.~/..!", "\xff!"}) EXPECT_FALSE(key_of(name)) << name;
}

}  // namespace
}  // namespace mayfly::s3
