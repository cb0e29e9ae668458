#include "domain/pipeline/yaml.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

struct Read {
  Document document;
  std::string problems;

  const YamlNode& operator[](std::string_view key) const {
    auto* found = document.root->find(key);
    return found ? *found : *document.root;
  }
};

Read read(std::string_view text, YamlLimits limits = {}) {
  Problems problems(10);
  Read out;
  out.document = read_yaml("f", text, limits, problems);
  for (auto& problem : problems.take()) out.problems += to_string(problem) + "\n";
  return out;
}

TEST(Yaml, OnIsAWordAndThreePointTenKeepsItsText) {
  auto file = read("on: push\nversion: 3.10\nmode: 0644\noctal: 0o644\nyes: no\n");
  EXPECT_EQ(file["on"].text, "push");
  EXPECT_EQ(file["version"].text, "3.10");
  EXPECT_EQ(file["mode"].as_integer(), 644);
  EXPECT_EQ(file["octal"].as_integer(), 420);
  EXPECT_EQ(file["yes"].as_bool(), std::nullopt);
  EXPECT_EQ(file.problems, "");
}

TEST(Yaml, OnlyPlainScalarsAreMoreThanText) {
  auto file = read("a: true\nb: 'true'\nc: \"1\"\nd: !!str 1\ne: ~\nf: ''\ng:\n");
  EXPECT_EQ(file["a"].as_bool(), true);
  EXPECT_EQ(file["b"].as_bool(), std::nullopt);
  EXPECT_EQ(file["c"].as_integer(), std::nullopt);
  EXPECT_EQ(file["d"].as_integer(), std::nullopt);
  EXPECT_TRUE(file["e"].is_null());
  EXPECT_FALSE(file["f"].is_null());
  EXPECT_TRUE(file["g"].is_null());
}

TEST(Yaml, ReadsEveryStyleOfText) {
  auto file = read("a: 'it''s '''' \n  folded'\nb: \"\\u00e4\\n\\\n   x\"\nc: |-\n  one\n   two\n\nd: >\n  one\n  two\n\n  three\n'e': plain # comment\n");
  EXPECT_EQ(file.problems, "");
  EXPECT_EQ(file["a"].text, "it's '' folded");
  EXPECT_EQ(file["b"].text, "ä\nx");
  EXPECT_EQ(file["c"].text, "one\n two");
  EXPECT_EQ(file["d"].text, "one two\nthree\n");
  EXPECT_EQ(file["e"].text, "plain");
  EXPECT_EQ(read("a: '" + std::string(200, '\'') + "'")["a"].text, std::string(100, '\''));
  EXPECT_EQ(read("a: \"x\\\n\n   y\\t\n   z\"")["a"].text, "x\ny\t z");
  EXPECT_EQ(read("a: >+ # folded\n  x\n\n   w\n\n  y\n  z\n\nb: c")["a"].text, "x\n\n w\n\ny z\n\n");
  EXPECT_EQ(read("a: >-\n  x\n   w\n\n")["a"].text, "x\n w");
  EXPECT_EQ(read("a: >1\n  x\n")["a"].text, " x\n");
  EXPECT_EQ(read("a: \"x\\0\"").problems, "f:1:5: a NUL byte is no text: remove the \\0\n");
  EXPECT_EQ(read("a: \"\\x41\\u00e4\\U0001F41B\\e\\N\\/\"")["a"].text, "Aä🐛\x1b\u0085/");
}

TEST(Yaml, EveryNodeKnowsItsPlace) {
  auto file = read("a:\n  - x\n  - {b: c}\nd: |\n  one ${{ ref }}\n    two ${{ sha }} ${{ tag }}\n");
  auto& list = file["a"];
  EXPECT_EQ(list.items[0]->at, (Mark{2, 5}));
  EXPECT_EQ(list.items[1]->find("b")->at, (Mark{3, 9}));
  EXPECT_EQ(file["d"].expressions, (std::vector<Mark>{{5, 7}, {6, 9}, {6, 20}}));
}

TEST(Yaml, ColumnsCountCharacters) {
  auto file = read("ä: \"ü ${{ ref }}\"\n");
  EXPECT_EQ(file["ä"].expressions, (std::vector<Mark>{{1, 7}}));
}

TEST(Yaml, MergeKeysGiveWhatIsNotThere) {
  auto file = read("base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\na: {<<: [*b, *m], x: 0}\n");
  auto& a = file["a"];
  EXPECT_EQ(a.find("x")->text, "0");
  EXPECT_EQ(a.find("y")->text, "2");
  EXPECT_EQ(a.find("z")->text, "4");
  EXPECT_EQ(a.entries.size(), 3u);
}

TEST(Yaml, AnAnchorMayNotHoldItself) {
  EXPECT_EQ(read("a: &a [*a]\n").problems, "f:1:8: there is no anchor '&a' before this alias: write '&a' on the value it stands for\n");
}

TEST(Yaml, AliasesExpandUpToALimit) {
  // Ten bytes of text and 16 for the node, once more for each alias.
  std::string text = "- &a 0123456789\n- *a\n- *a\n";
  EXPECT_EQ(read(text, {.expansion_bytes = text.size() + 52}).problems, "");
  EXPECT_EQ(read(text, {.expansion_bytes = text.size() + 51}).problems,
            "f:3:3: aliases expand this file beyond 77 bytes (limit: expansion): use fewer aliases of aliases\n");
}

TEST(Yaml, ABillionLaughsAreNotFunny) {
  std::string text = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n";
  for (int i = 1; i < 10; ++i) {
    auto below = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + below;
    for (int k = 1; k < 9; ++k) text += ", " + below;
    text += "]\n";
  }
  auto file = read(text);
  EXPECT_NE(file.problems.find("limit: expansion"), std::string::npos);
  EXPECT_FALSE(file.document.complete);
}

TEST(Yaml, DepthHasALimitAliasesIncluded) {
  auto nested = [](int levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(read(nested(64)).problems, "");
  EXPECT_EQ(read(nested(65)).problems, "f:1:65: nested deeper than 64 levels (limit: depth)\n");
  EXPECT_EQ(read("- &a " + nested(40) + "\n- " + std::string(23, '[') + "*a" + std::string(23, ']')).problems, "");
  EXPECT_EQ(read("- &a " + nested(40) + "\n- " + std::string(24, '[') + "*a" + std::string(24, ']')).problems,
            "f:2:27: nested deeper than 64 levels (limit: depth)\n");
}

TEST(Yaml, SizeHasALimit) {
  EXPECT_EQ(read("a: bcd", {.file_bytes = 6}).problems, "");
  EXPECT_EQ(read("a: bcde", {.file_bytes = 6}).problems, "f:1:1: the file has 7 bytes, more than 6 (limit: file)\n");
}

TEST(Yaml, OnlyUtf8IsText) {
  EXPECT_EQ(read("a: \xc3\xa4\n").problems, "");
  for (auto bad : {"a: \xff", "a: \xc3", "a: \xc0\xaf", "a: \xed\xa0\x80", "a: \xf4\x90\x80\x80"})
    EXPECT_EQ(read(bad).problems, "f:1:4: a byte that is not UTF-8 text: save the file as UTF-8\n");
  EXPECT_EQ(read(std::string_view("a: \nb\0: 1", 9)).problems, "f:2:2: a byte that is not UTF-8 text: save the file as UTF-8\n");
}

TEST(Yaml, BecomesTheJsonItMeans) {
  EXPECT_EQ(yaml_to_json("a: [1, 0x10, 1.5, true, ~, x, '1']\nb: {c: 3.10}\n"), R"({"a":[1,16,1.5E0,true,null,"x","1"],"b":{"c":3.1E0}})");
  EXPECT_FALSE(yaml_to_json("a: ["));
}

}  // namespace
}  // namespace mayfly
