#pragma once
// libgit2's objects with owners, its errors as ours. Only this folder's .cpp files include it.

#include <git2.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::git2 {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* thing) const {
    Free(thing);
  }
};

using Repository = std::unique_ptr<git_repository, Freed<git_repository_free>>;
using Odb = std::unique_ptr<git_odb, Freed<git_odb_free>>;
using OdbObject = std::unique_ptr<git_odb_object, Freed<git_odb_object_free>>;
using Object = std::unique_ptr<git_object, Freed<git_object_free>>;
using Commit = std::unique_ptr<git_commit, Freed<git_commit_free>>;
using Tree = std::unique_ptr<git_tree, Freed<git_tree_free>>;
using TreeEntry = std::unique_ptr<git_tree_entry, Freed<git_tree_entry_free>>;
using Blob = std::unique_ptr<git_blob, Freed<git_blob_free>>;
using Reference = std::unique_ptr<git_reference, Freed<git_reference_free>>;
using Diff = std::unique_ptr<git_diff, Freed<git_diff_free>>;

/// Makes libgit2 ready, blind to the machine's and the user's configuration and without its owner check: what may be opened
/// is decided before (repo_url.h). For the whole process, once; it is never put away, because what it keeps for each thread
/// would outlive it.
void use_library();

/// libgit2's last error of this thread: not_found when it says so, corrupt when bytes are wrong, else unavailable.
std::unexpected<Error> failed(int code, std::string_view doing);

Result<Repository> open(const std::string& directory);
Result<git_oid> parse_oid(std::string_view sha);   // Errc::unsupported for SHA-256 names
std::string to_string(const git_oid&);

/// The commit itself, or the one a tag object leads to. Errc::not_found when the object is absent or leads to none.
Result<Commit> find_commit(git_repository*, std::string_view sha);
Result<Tree> tree_of(const git_commit*);

}  // namespace mayfly::git2
