#include "support/git_repository.h"

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace mayfly {
namespace {

constexpr std::string_view environment =
    "unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; export HOME=/nonexistent LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME='Ada Lovelace' GIT_AUTHOR_EMAIL=ada@acme.test "
    "GIT_COMMITTER_NAME='Ada Lovelace' GIT_COMMITTER_EMAIL=ada@acme.test GIT_AUTHOR_DATE='2026-01-02T03:04:05Z' GIT_COMMITTER_DATE='2026-01-02T03:04:05Z'; ";

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string shell(const std::filesystem::path& directory, const std::string& command) {
  auto line = std::string(environment) + "cd " + quoted(directory.string()) + " && { " + command + "\n}";
  FILE* pipe = popen(line.c_str(), "re");
  if (!pipe) throw std::runtime_error("popen");
  std::string out;
  char buffer[4096];
  while (auto n = fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
  if (int status = pclose(pipe); status != 0) throw std::runtime_error("'" + command + "' failed with status " + std::to_string(status));
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

GitRepository::GitRepository(std::filesystem::path bare) : bare_(std::move(bare)), work_(bare_.string() + ".work") {
  std::filesystem::create_directories(bare_.parent_path());
  shell("/", "git init -q --bare -b main " + quoted(bare_.string()) + " && git init -q -b main " + quoted(work_.string()));
  git("remote add origin " + quoted(bare_.string()));
}

void GitRepository::write(const std::string& path, std::string_view content) const {
  auto file = work_ / path;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
}

std::string GitRepository::commit(const std::string& message) const {
  git("add -A && git commit -q --allow-empty -m " + quoted(message));
  return git("rev-parse HEAD");
}

void GitRepository::push(const std::string& refspec) const { git("push -q origin " + quoted(refspec)); }

std::string GitRepository::push_file(const std::string& path, std::string_view content, const std::string& message) const {
  write(path, content);
  auto sha = commit(message);
  push("main");
  return sha;
}

}  // namespace mayfly
