#include "runner/sidecar/collect.h"

#include <algorithm>
#include <map>

#include "domain/pipeline/glob.h"

namespace mayfly {
namespace {

struct Pattern {
  std::string text;      // as in the pipeline
  std::string pattern;   // without '!' and "./"
  std::string base;      // the directory (or file) at which to begin: what stands before the first wildcard
  bool takes_away = false;
  bool matched = false;
};

Result<Pattern> parse(const std::string& text) {
  Pattern glob{.text = text, .pattern = text, .base = {}};
  if (glob.pattern.size() > max_glob_bytes) return fail(Errc::too_large, "the path '" + text + "' is longer than " + std::to_string(max_glob_bytes) + " bytes");
  glob.takes_away = glob.pattern.starts_with('!');
  if (glob.takes_away) glob.pattern.erase(0, 1);
  TRY_ASSIGN(glob.pattern, clean_path(glob.pattern));
  auto wild = glob.pattern.find_first_of("*?");
  if (wild == glob.pattern.npos) {
    glob.base = glob.pattern;
  } else {
    auto slash = glob.pattern.rfind('/', wild);
    glob.base = slash == glob.pattern.npos ? "." : glob.pattern.substr(0, slash);
  }
  if (glob.pattern == ".") glob.pattern = "**";
  return glob;
}

/// The path itself or a directory above it.
bool matches(const Pattern& glob, std::string_view path) {
  for (;;) {
    if (glob_match(glob.pattern, path)) return true;
    auto slash = path.rfind('/');
    if (slash == path.npos) return false;
    path = path.substr(0, slash);
  }
}

bool is_git(std::string_view path) { return path == ".git" || path.starts_with(".git/"); }

}  // namespace

Result<Collected> collect(const Tree& tree, const std::vector<std::string>& texts) {
  std::vector<Pattern> globs;
  for (auto& text : texts) {
    TRY_ASSIGN(auto glob, parse(text));
    globs.push_back(std::move(glob));
  }
  std::map<std::string, TreeEntry> found;
  auto wanted = [&](const TreeEntry& entry) {
    bool in = false;
    for (auto& glob : globs) {
      if ((is_git(entry.path) && !is_git(glob.pattern)) || !matches(glob, entry.path)) continue;
      glob.matched = true;
      in = !glob.takes_away;
    }
    return in;
  };
  for (auto& from : globs) {
    if (from.takes_away) continue;
    TRY(tree.walk(from.base, [&](const TreeEntry& entry) {
      if (is_git(entry.path) && !is_git(from.pattern)) return false;
      if (entry.path != "." && wanted(entry)) found.emplace(entry.path, entry);
      return true;
    }));
  }
  Collected out;
  for (auto& [path, entry] : found) out.entries.push_back(std::move(entry));
  for (auto& glob : globs)
    if (!glob.takes_away && !glob.matched) out.unmatched.push_back(glob.text);
  return out;
}

}  // namespace mayfly
