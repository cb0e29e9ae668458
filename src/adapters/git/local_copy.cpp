#include "adapters/git/local_copy.h"

#include <set>
#include <vector>

#include "adapters/git/libgit2.h"

namespace mayfly {
namespace {

struct OidLess {
  bool operator()(const git_oid& a, const git_oid& b) const { return git_oid_cmp(&a, &b) < 0; }
};

Result<git2::Odb> odb_of(git_repository* repository) {
  git_odb* raw = nullptr;
  if (int code = git_repository_odb(&raw, repository); code != 0) return git2::failed(code, "cannot open the objects");
  return git2::Odb(raw);
}

class Copier {
 public:
  Copier(git_repository* source, git_odb* from, git_odb* into) : source_(source), from_(from), into_(into) {}

  Result<void> copy(const git_commit* commit, const Mirror& mirror) {
    auto& id = *git_commit_id(commit);
    TRY(collect_tree(*git_commit_tree_id(commit), 0));
    for (auto& oid : missing_) TRY(write(oid));
    if (is_there(id)) return {};
    // First that its parents are not here, then the commit: git must never meet it and look for them.
    if (git_commit_parentcount(commit) > 0) TRY(mirror.add_shallow(git2::to_string(id)));
    return write(id);
  }

 private:
  git_repository* source_;
  git_odb* from_;
  git_odb* into_;
  std::set<git_oid, OidLess> met_;
  std::vector<git_oid> missing_;   // children before parents
  std::int64_t bytes_ = 0;

  bool is_there(const git_oid& oid) { return git_odb_exists_ext(into_, &oid, GIT_ODB_LOOKUP_NO_REFRESH) == 1; }

  Result<void> collect(const git_oid& oid) {
    if (missing_.size() == max_copied_objects) return fail(Errc::too_large, "more objects than are copied one by one");
    std::size_t size = 0;
    git_object_t type;
    if (int code = git_odb_read_header(&size, &type, from_, &oid); code != 0) return git2::failed(code, "cannot read " + git2::to_string(oid));
    bytes_ += std::int64_t(size);
    if (bytes_ > max_copied_bytes) return fail(Errc::too_large, "more bytes than are copied one by one");
    missing_.push_back(oid);
    return {};
  }

  Result<void> collect_tree(const git_oid& oid, std::size_t depth) {
    if (!met_.insert(oid).second || is_there(oid)) return {};
    if (depth > max_tree_depth) return fail(Errc::too_large, "directories are nested too deep");
    git_tree* raw = nullptr;
    if (int code = git_tree_lookup(&raw, source_, &oid); code != 0) return git2::failed(code, "cannot read tree " + git2::to_string(oid));
    git2::Tree tree(raw);
    for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
      auto* entry = git_tree_entry_byindex(tree.get(), i);
      auto& id = *git_tree_entry_id(entry);
      if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) TRY(collect_tree(id, depth + 1));
      if (git_tree_entry_type(entry) == GIT_OBJECT_BLOB && met_.insert(id).second && !is_there(id)) TRY(collect(id));
    }
    return collect(oid);
  }

  Result<void> write(const git_oid& oid) {
    git_odb_object* raw = nullptr;
    if (int code = git_odb_read(&raw, from_, &oid); code != 0) return git2::failed(code, "cannot read " + git2::to_string(oid));
    git2::OdbObject object(raw);
    git_oid written;
    if (int code = git_odb_write(&written, into_, git_odb_object_data(raw), git_odb_object_size(raw), git_odb_object_type(raw)); code != 0)
      return git2::failed(code, "cannot write " + git2::to_string(oid));
    return {};
  }
};

Result<void> copy(git_repository* source, const Mirror& into, const git_commit* commit) {
  TRY_ASSIGN(auto target, git2::open(into.directory().string()));
  TRY_ASSIGN(auto source_objects, odb_of(source));
  TRY_ASSIGN(auto target_objects, odb_of(target.get()));
  return Copier(source, source_objects.get(), target_objects.get()).copy(commit, into);
}

}  // namespace

Result<std::string> copy_commit(const std::string& from, const Mirror& into, const std::string& sha) {
  TRY_ASSIGN(auto source, git2::open(from));
  TRY_ASSIGN(auto commit, git2::find_commit(source.get(), sha));
  auto copied = copy(source.get(), into, commit.get());
  if (!copied && copied.error().code == Errc::not_found) copied.error().code = Errc::unavailable;   // a part of it, not the commit
  TRY(copied);
  return git2::to_string(*git_commit_id(commit.get()));
}

}  // namespace mayfly
