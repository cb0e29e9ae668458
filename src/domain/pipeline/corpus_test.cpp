// The files of testdata/: what is valid is accepted, what is not is told in full, and the published JSON Schema agrees.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "domain/pipeline/planner.h"
#include "domain/pipeline/shape.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

const fs::path source = MAYFLY_SOURCE_DIR;
const fs::path testdata = source / "src/domain/pipeline/testdata";

std::string read(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Compares with a file of the repository; MAYFLY_UPDATE=1 writes it instead, for `git diff` to judge.
void expect_file(const fs::path& path, const std::string& content) {
  if (std::getenv("MAYFLY_UPDATE")) std::ofstream(path) << content;
  EXPECT_EQ(content, read(path)) << path << "\nMAYFLY_UPDATE=1 writes it anew";
}

std::vector<fs::path> yaml_files(std::string_view folder) {
  std::vector<fs::path> out;
  for (auto& entry : fs::directory_iterator(testdata / folder))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

std::string linted(const fs::path& path) {
  std::string out;
  for (auto& problem : lint({{path.filename().string(), read(path)}}, {.unsupported = {}})) out += to_string(problem) + "\n";
  return out;
}

TEST(Corpus, ValidFilesAreAccepted) {
  auto files = yaml_files("valid");
  EXPECT_GE(files.size(), 7u);
  for (auto& file : files) EXPECT_EQ(linted(file), "") << file;
}

TEST(Corpus, EveryMistakeIsToldWithItsPlaceAndWhatToDo) {
  auto files = yaml_files("invalid");
  EXPECT_GE(files.size(), 25u);
  for (auto& file : files) {
    auto told = linted(file);
    EXPECT_NE(told, "") << file;
    expect_file(fs::path(file).replace_extension(".txt"), told);
  }
}

TEST(Schema, IsPublishedAsTheTablesHaveIt) { expect_file(source / "docs/ci.schema.json", pipeline_json_schema()); }

/// What the schema says of every document, asked of python3-jsonschema: one "0" or "1" a document.
std::string verdicts(const json::array& documents) {
  auto folder = fs::temp_directory_path() / ("mayfly-schema-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "schema.json") << pipeline_json_schema();
  std::ofstream(folder / "documents.json") << json::serialize(documents);
  std::ofstream(folder / "check.py") << R"(import json, sys, jsonschema
folder = sys.argv[1]
schema = json.load(open(folder + "/schema.json"))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
print("".join("1" if validator.is_valid(d) else "0" for d in json.load(open(folder + "/documents.json"))), end="")
)";
  std::string out;
  auto command = "python3 " + (folder / "check.py").string() + " " + folder.string();
  if (auto* pipe = ::popen(command.c_str(), "r")) {
    std::array<char, 256> buffer;
    while (auto size = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), size);
    ::pclose(pipe);
  }
  fs::remove_all(folder);
  return out;
}

TEST(Schema, AgreesWithTheParser) {
  std::vector<std::pair<fs::path, char>> expected;
  json::array documents;
  auto add = [&](const fs::path& file, char verdict) {
    auto text = read(file);
    auto document = yaml_to_json(text);
    if (!document) return;  // not YAML: there is nothing to ask a schema
    documents.push_back(*parse_json(*document));
    expected.emplace_back(file, verdict);
  };
  for (auto& file : yaml_files("valid")) add(file, '1');
  for (auto& file : yaml_files("invalid")) add(file, read(file).starts_with("# schema: accepts") ? '1' : '0');
  auto found = verdicts(documents);
  ASSERT_EQ(found.size(), expected.size()) << "is python3-jsonschema installed?";
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], expected[i].second) << expected[i].first;
}

}  // namespace
}  // namespace mayfly
