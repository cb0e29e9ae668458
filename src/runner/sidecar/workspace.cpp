#include "runner/sidecar/workspace.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "runner/sidecar/junit.h"
#include "runner/sidecar/tar.h"

namespace mayfly {
namespace {

struct Hashed {
  UniqueFd fd;
  std::int64_t size = 0;
  Sha256 digest{};
};

Result<Hashed> hash(UniqueFd fd, const std::string& path) {
  Hashed out{std::move(fd), 0, {}};
  Sha256Stream stream;
  std::vector<char> block(256 << 10);
  for (;;) {
    auto n = ::pread(out.fd.get(), block.data(), block.size(), out.size);
    if (n < 0) return fail(Errc::unavailable, "cannot read '" + path + "'");
    if (n == 0) break;
    stream.update({block.data(), static_cast<std::size_t>(n)});
    out.size += n;
    if (out.size > max_artifact_bytes)
      return fail(Errc::too_large, "'" + path + "' is over the limit of " + std::to_string(max_artifact_bytes) + " bytes an artifact");
  }
  out.digest = stream.digest();
  return out;
}

/// A file without a name, gone when it is closed.
Result<UniqueFd> spare_file(const std::string& directory) {
  auto name = directory + "/spare-XXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd || ::unlink(name.c_str()) != 0) return fail(Errc::unavailable, "cannot make a file in '" + directory + "'");
  return fd;
}

Result<void> copy_file(int from, int to, const std::string& path) {
  std::vector<char> block(256 << 10);
  for (std::int64_t at = 0;;) {
    auto n = ::pread(from, block.data(), block.size(), at);
    if (n == 0) return {};
    if (n < 0 || ::write(to, block.data(), static_cast<std::size_t>(n)) != n) return fail(Errc::too_large, "there is no room for '" + path + "'");
    at += n;
  }
}

Result<void> place(int from, const NeededArtifact& artifact, const std::string& workspace) {
  TRY_ASSIGN(auto tree, Tree::open(workspace));
  if (artifact.kind == "outputs") {
    ::lseek(from, 0, SEEK_SET);
    return unpack(from, tree);
  }
  TRY_ASSIGN(auto path, clean_path(artifact.path));
  TRY_ASSIGN(auto to, tree.create_file(path, 0644));
  return copy_file(from, to.get(), path);
}

Result<std::string> read_whole(const Tree& tree, const std::string& path, std::size_t limit) {
  TRY_ASSIGN(auto fd, tree.open_file(path));
  std::string text;
  std::vector<char> block(256 << 10);
  for (ssize_t n; (n = ::read(fd.get(), block.data(), block.size())) > 0;) {
    text.append(block.data(), static_cast<std::size_t>(n));
    if (text.size() > limit) return fail(Errc::too_large, "over the limit of " + std::to_string(limit) + " bytes");
  }
  return text;
}

std::string masked(const std::shared_ptr<const MaskPatterns>& patterns, const std::string& text) {
  Masker masker(patterns);
  std::string out;
  masker.feed(text, out);
  masker.finish(out);
  return out;
}

void say_unmatched(std::string_view what, const Collected& found, Workspace::Notes& notes) {
  for (auto& glob : found.unmatched) notes.push_back(std::string(what) + ": '" + glob + "' matches nothing in the workspace");
}

Result<Collected> collect_in(const std::string& workspace, const std::vector<std::string>& globs) {
  TRY_ASSIGN(auto tree, Tree::open(workspace));
  return collect(tree, globs);
}

TestReport read_reports(const std::string& workspace, const std::vector<TreeEntry>& files, Workspace::Notes& notes) {
  TestReport report;
  auto tree = Tree::open(workspace);
  if (!tree) return report;
  std::size_t read = 0;
  for (auto& file : files) {
    if (S_ISDIR(file.info.st_mode)) continue;
    if (++read > max_junit_files) {
      notes.push_back("reports: only the first " + std::to_string(max_junit_files) + " JUnit files were read");
      break;
    }
    auto xml = read_whole(*tree, file.path, max_junit_file_bytes);
    Result<void> added = xml ? add_junit(*xml, report) : std::unexpected(xml.error());
    if (!added) notes.push_back("reports: '" + file.path + "' was not read: " + added.error().message);
  }
  return report;
}

}  // namespace

Workspace::Workspace(RunnerApi& api, Offload& offload, SandboxPaths paths, std::string spare, const RunnerJob& job)
    : api_(api), offload_(offload), paths_(std::move(paths)), spare_(std::move(spare)), job_(job) {}

SourceWire Workspace::wire() const {
  SourceWire wire{.urls = {}, .token = api_.token(), .fence = api_.fence()};
  for (auto& address : api_.addresses())
    if (address.starts_with("http")) wire.urls.push_back(address + "/source.git");   // git knows no unix sockets
  return wire;
}

Task<Result<void>> Workspace::fill() {
  if (job_.source.checkout.enabled) {
    auto url = job_.env.find("CI_REPO_URL");
    SourceRequest request{.source = job_.source, .workspace = paths_.workspace_host, .wire = wire(), .origin = url == job_.env.end() ? "" : url->second};
    auto begin = std::chrono::steady_clock::now();
    CO_TRY(co_await offload(offload_, [&] { return check_out(request, stop_); }));
    source_time_ = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begin);
  }
  for (auto& job : job_.needs)
    for (auto& artifact : job.artifacts) CO_TRY(co_await take(artifact));
  if (paths_.uid == ::geteuid()) co_return Result<void>{};  // all that is new is ours, and so the job's
  co_return co_await offload(offload_, [&]() -> Result<void> {
    TRY_ASSIGN(auto tree, Tree::open(paths_.workspace_host));
    return tree.give_to(paths_.uid, paths_.gid);
  });
}

Task<Result<void>> Workspace::take(const NeededArtifact& artifact) {
  CO_TRY_ASSIGN(auto file, spare_file(spare_));
  CO_TRY(co_await api_.download(artifact, file.get()));
  int fd = file.get();
  co_return co_await offload(offload_, [&, fd] { return place(fd, artifact, paths_.workspace_host); });
}

Task<std::optional<TestReport>> Workspace::read_tests(Notes& notes) {
  if (job_.spec.junit.empty()) co_return std::nullopt;
  auto report = co_await offload(offload_, [&]() -> std::optional<TestReport> {
    auto found = collect_in(paths_.workspace_host, job_.spec.junit);
    if (!found) {
      notes.push_back("reports: " + found.error().message);
      return std::nullopt;
    }
    say_unmatched("reports", *found, notes);
    if (found->entries.empty()) return std::nullopt;
    return read_reports(paths_.workspace_host, found->entries, notes);
  });
  if (!report) co_return std::nullopt;
  std::vector<std::string> secrets;
  for (auto& [name, value] : job_.secrets) secrets.push_back(value);
  auto patterns = MaskPatterns::make(secrets);
  for (auto& test : report->failed)
    for (auto* text : {&test.suite, &test.name, &test.message}) *text = masked(patterns, *text);
  co_return report;
}

Task<Result<void>> Workspace::upload_file(std::string path, int opened) {
  CO_TRY_ASSIGN(auto file, co_await offload(offload_, [&] { return hash(UniqueFd(opened), path); }));
  co_return co_await api_.upload("artifact", path, file.fd.get(), file.size, file.digest);
}

Task<Result<void>> Workspace::upload_artifacts(Notes& notes) {
  if (job_.spec.artifacts.paths.empty()) co_return Result<void>{};
  CO_TRY_ASSIGN(auto found, co_await offload(offload_, [&] { return collect_in(paths_.workspace_host, job_.spec.artifacts.paths); }));
  say_unmatched("artifacts", found, notes);
  CO_TRY_ASSIGN(auto tree, Tree::open(paths_.workspace_host));
  std::size_t uploaded = 0;
  for (auto& entry : found.entries) {
    if (S_ISDIR(entry.info.st_mode)) continue;
    auto file = tree.open_file(entry.path);
    if (!file) {
      notes.push_back("artifacts: " + file.error().message + "; it is left out");
      continue;
    }
    if (++uploaded > max_artifacts_per_attempt)
      co_return fail(Errc::too_large, "the artifacts are more than " + std::to_string(max_artifacts_per_attempt) + " files",
                     "pack them into one with tar, or name fewer");
    CO_TRY(co_await upload_file(entry.path, file->release()));
  }
  co_return Result<void>{};
}

Task<Result<void>> Workspace::upload_outputs(Notes& notes) {
  if (job_.spec.outputs.empty()) co_return Result<void>{};
  CO_TRY_ASSIGN(auto file, spare_file(spare_));
  auto packed = co_await offload(offload_, [&]() -> Result<Hashed> {
    TRY_ASSIGN(auto tree, Tree::open(paths_.workspace_host));
    TRY_ASSIGN(auto found, collect(tree, job_.spec.outputs));
    say_unmatched("outputs", found, notes);
    std::vector<std::string> left_out;
    TRY(pack(tree, found.entries, file.get(), left_out));
    for (auto& path : left_out) notes.push_back("outputs: '" + path + "' is no file inside the workspace; it is left out");
    return hash(std::move(file), "outputs.tar");
  });
  if (!packed) co_return std::unexpected(packed.error());
  co_return co_await api_.upload("outputs", "outputs.tar", packed->fd.get(), packed->size, packed->digest);
}

}  // namespace mayfly
