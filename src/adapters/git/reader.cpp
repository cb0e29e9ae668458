#include "adapters/git/reader.h"

#include <algorithm>
#include <array>
#include <set>

#include "adapters/git/libgit2.h"
#include "adapters/git/local_copy.h"
#include "adapters/git/utf8.h"

namespace mayfly {
namespace {

std::string author_of(const git_commit* commit) {
  auto* who = git_commit_author(commit);
  return to_utf8(std::string(who->name) + " <" + who->email + ">");
}

CommitInfo info_of(const git_commit* commit) {
  auto message = std::string_view(git_commit_message(commit));
  return {.sha = git2::to_string(*git_commit_id(commit)), .message = to_utf8(message.substr(0, max_commit_message_bytes)), .author = author_of(commit)};
}

bool is_plain_file(const git_tree_entry* entry) {
  auto mode = git_tree_entry_filemode(entry);
  return mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE;
}

Result<SourceFile> read_file(git_repository* repository, const git_tree_entry* entry, std::string path) {
  if (!is_plain_file(entry)) return fail(Errc::invalid, path + " is not a plain file", "a pipeline file cannot be a link, a directory or a submodule");
  git_odb* raw_odb = nullptr;
  if (int code = git_repository_odb(&raw_odb, repository); code != 0) return git2::failed(code, path);
  git2::Odb odb(raw_odb);
  std::size_t size = 0;
  git_object_t type;
  if (int code = git_odb_read_header(&size, &type, odb.get(), git_tree_entry_id(entry)); code != 0) return git2::failed(code, path);
  if (size > max_pipeline_file_bytes)
    return fail(Errc::too_large, path + " has " + std::to_string(size) + " bytes; a pipeline file may have " + std::to_string(max_pipeline_file_bytes));
  git_blob* raw = nullptr;
  if (int code = git_blob_lookup(&raw, repository, git_tree_entry_id(entry)); code != 0) return git2::failed(code, path);
  git2::Blob blob(raw);
  return SourceFile{.path = std::move(path), .content = {static_cast<const char*>(git_blob_rawcontent(raw)), std::size_t(git_blob_rawsize(raw))}};
}

Result<git2::Tree> subtree(git_repository* repository, const git_oid& oid) {
  git_tree* raw = nullptr;
  if (int code = git_tree_lookup(&raw, repository, &oid); code != 0) return git2::failed(code, "tree " + git2::to_string(oid));
  return git2::Tree(raw);
}

Result<std::vector<SourceFile>> pipeline_files(git_repository* repository, const git_tree* root) {
  std::vector<SourceFile> out;
  if (auto* single = git_tree_entry_byname(root, ".ci.yaml")) {
    TRY_ASSIGN(auto file, read_file(repository, single, ".ci.yaml"));
    out.push_back(std::move(file));
    return out;
  }
  auto* folder = git_tree_entry_byname(root, ".ci");
  if (!folder || git_tree_entry_type(folder) != GIT_OBJECT_TREE) return out;
  TRY_ASSIGN(auto tree, subtree(repository, *git_tree_entry_id(folder)));
  for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
    auto* entry = git_tree_entry_byindex(tree.get(), i);
    std::string_view name = git_tree_entry_name(entry);
    if (!name.ends_with(".yaml") || git_tree_entry_type(entry) == GIT_OBJECT_TREE) continue;
    if (out.size() == max_pipeline_files) return fail(Errc::too_large, ".ci has more than " + std::to_string(max_pipeline_files) + " pipeline files");
    TRY_ASSIGN(auto file, read_file(repository, entry, ".ci/" + to_utf8(name)));
    out.push_back(std::move(file));
  }
  return out;
}

// Lists a tree's files in path order, with a limit that holds however often a tree names the same subtree.
class Lister {
 public:
  Lister(git_repository* repository, const std::function<bool(std::string_view)>& wanted) : repository_(repository), wanted_(wanted) {}

  Result<std::vector<std::string>> list(const git_tree* root) {
    TRY(visit(root, "", 0));
    std::ranges::sort(found_);
    return std::move(found_);
  }

 private:
  git_repository* repository_;
  const std::function<bool(std::string_view)>& wanted_;
  std::vector<std::string> found_;
  std::size_t listed_ = 0;

  Result<void> visit(const git_tree* tree, const std::string& prefix, std::size_t depth) {
    if (depth > max_tree_depth) return fail(Errc::too_large, "directories are nested deeper than " + std::to_string(max_tree_depth));
    for (std::size_t i = 0; i < git_tree_entrycount(tree); ++i) {
      if (++listed_ > max_listed_paths) return fail(Errc::too_large, "the commit has more than " + std::to_string(max_listed_paths) + " files");
      auto* entry = git_tree_entry_byindex(tree, i);
      auto path = prefix + git_tree_entry_name(entry);
      if (git_tree_entry_type(entry) == GIT_OBJECT_TREE) {
        TRY_ASSIGN(auto below, subtree(repository_, *git_tree_entry_id(entry)));
        TRY(visit(below.get(), path + "/", depth + 1));
      } else if (auto text = to_utf8(path); wanted_(text)) {
        found_.push_back(text + " " + git2::to_string(*git_tree_entry_id(entry)));
      }
    }
    return {};
  }
};

std::vector<std::string> ref_names(const std::string& ref) {
  if (ref.empty()) return {"HEAD"};
  if (ref == "HEAD" || ref.starts_with("refs/")) return {ref};
  return {"refs/heads/" + ref, "refs/tags/" + ref};
}

}  // namespace

Result<Snapshot> read_snapshot(const std::string& directory, const std::string& sha) {
  TRY_ASSIGN(auto repository, git2::open(directory));
  TRY_ASSIGN(auto commit, git2::find_commit(repository.get(), sha));
  TRY_ASSIGN(auto root, git2::tree_of(commit.get()));
  TRY_ASSIGN(auto files, pipeline_files(repository.get(), root.get()));
  return Snapshot{.commit = info_of(commit.get()), .pipeline_files = std::move(files)};
}

Result<std::optional<std::vector<std::string>>> read_changed_paths(const std::string& directory, const std::string& before, const std::string& after) {
  TRY_ASSIGN(auto repository, git2::open(directory));
  TRY_ASSIGN(auto old_commit, git2::find_commit(repository.get(), before));
  TRY_ASSIGN(auto new_commit, git2::find_commit(repository.get(), after));
  TRY_ASSIGN(auto old_tree, git2::tree_of(old_commit.get()));
  TRY_ASSIGN(auto new_tree, git2::tree_of(new_commit.get()));
  git_diff_options options;
  git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
  options.flags = GIT_DIFF_INCLUDE_TYPECHANGE | GIT_DIFF_SKIP_BINARY_CHECK;
  git_diff* raw = nullptr;
  if (int code = git_diff_tree_to_tree(&raw, repository.get(), old_tree.get(), new_tree.get(), &options); code != 0)
    return git2::failed(code, "cannot compare " + before + " and " + after);
  git2::Diff diff(raw);
  if (git_diff_num_deltas(raw) > max_changed_paths) return std::nullopt;
  std::set<std::string> paths;
  for (std::size_t i = 0; i < git_diff_num_deltas(raw); ++i) {
    auto* delta = git_diff_get_delta(raw, i);
    paths.insert(to_utf8(delta->old_file.path));
    paths.insert(to_utf8(delta->new_file.path));
  }
  return std::vector<std::string>(paths.begin(), paths.end());
}

Result<std::vector<std::string>> read_tree_hashes(const std::string& directory, const std::string& sha,
                                                  const std::function<bool(std::string_view)>& wanted) {
  TRY_ASSIGN(auto repository, git2::open(directory));
  TRY_ASSIGN(auto commit, git2::find_commit(repository.get(), sha));
  TRY_ASSIGN(auto root, git2::tree_of(commit.get()));
  return Lister(repository.get(), wanted).list(root.get());
}

Result<std::string> read_ref(const std::string& directory, const std::string& ref) {
  TRY_ASSIGN(auto repository, git2::open(directory));
  for (auto& name : ref_names(ref)) {
    git_reference* raw = nullptr;
    int code = git_reference_lookup(&raw, repository.get(), name.c_str());
    if (code == GIT_ENOTFOUND) continue;
    if (code != 0) return git2::failed(code, name);
    git2::Reference reference(raw);
    git_object* target = nullptr;
    code = git_reference_peel(&target, reference.get(), GIT_OBJECT_COMMIT);
    if (code != 0) return git2::failed(GIT_ENOTFOUND, name + " leads to no commit");
    git2::Object commit(target);
    return git2::to_string(*git_object_id(commit.get()));
  }
  return fail(Errc::not_found, "there is no branch or tag '" + ref + "' in '" + directory + "'");
}

}  // namespace mayfly
