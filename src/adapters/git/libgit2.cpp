#include "adapters/git/libgit2.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mayfly::git2 {

void use_library() {
  [[maybe_unused]] static const int once = [] {
    int users = git_libgit2_init();
    for (int level : {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL, GIT_CONFIG_LEVEL_PROGRAMDATA})
      git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    return users;
  }();
}

std::unexpected<Error> failed(int code, std::string_view doing) {
  auto* last = git_error_last();
  auto message = "git: " + std::string(doing) + ": " + (last && last->message ? last->message : "error " + std::to_string(code));
  if (code == GIT_ENOTFOUND) return fail(Errc::not_found, std::move(message));
  int about = last ? last->klass : 0;
  constexpr int broken[] = {GIT_ERROR_ZLIB, GIT_ERROR_ODB, GIT_ERROR_OBJECT, GIT_ERROR_TREE, GIT_ERROR_INDEXER};
  bool corrupt = code == GIT_EMISMATCH || std::ranges::find(broken, about) != std::end(broken);
  return fail(corrupt ? Errc::corrupt : Errc::unavailable, std::move(message));
}

Result<Repository> open(const std::string& directory) {
  git_repository* raw = nullptr;
  if (int code = git_repository_open_ext(&raw, directory.c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr); code != 0)
    return failed(code, "cannot open '" + directory + "'");
  return Repository(raw);
}

Result<git_oid> parse_oid(std::string_view sha) {
  git_oid oid;
  if (sha.size() == 64) return fail(Errc::unsupported, "repositories with SHA-256 names are not supported");
  if (sha.size() != GIT_OID_HEXSZ || git_oid_fromstrn(&oid, sha.data(), sha.size()) != 0)
    return fail(Errc::invalid, "'" + std::string(sha.substr(0, 64)) + "' is not a commit: 40 hex digits are");
  return oid;
}

std::string to_string(const git_oid& oid) {
  std::string out(GIT_OID_HEXSZ, '\0');
  git_oid_fmt(out.data(), &oid);
  return out;
}

Result<Commit> find_commit(git_repository* repository, std::string_view sha) {
  TRY_ASSIGN(auto oid, parse_oid(sha));
  git_object* raw = nullptr;
  if (int code = git_object_lookup(&raw, repository, &oid, GIT_OBJECT_ANY); code != 0) return failed(code, "commit " + std::string(sha));
  Object object(raw);
  if (int code = git_object_peel(&raw, object.get(), GIT_OBJECT_COMMIT); code != 0)
    return fail(Errc::not_found, "git: " + std::string(sha) + " is not a commit");
  return Commit(reinterpret_cast<git_commit*>(raw));
}

Result<Tree> tree_of(const git_commit* commit) {
  git_tree* raw = nullptr;
  if (int code = git_commit_tree(&raw, commit); code != 0) return failed(code, "tree of commit " + to_string(*git_commit_id(commit)));
  return Tree(raw);
}

}  // namespace mayfly::git2
