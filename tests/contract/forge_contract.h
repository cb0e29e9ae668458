#pragma once
// What every Forge must do, on real repositories. To plug one in: link forge_contract.cpp, and instantiate ForgeContract with
// a factory that serves a directory of bare repositories.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "async/offload.h"
#include "ports/forge.h"
#include "support/git_repository.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly::contract {

/// Where the repositories under a directory can be fetched from.
class ForgeSite {
 public:
  virtual ~ForgeSite() = default;
  virtual std::string url_of(const std::string& repository) const = 0;   // "web.git"
};

struct ForgeFactory {
  std::string name;
  std::function<std::unique_ptr<ForgeSite>(const std::filesystem::path& root)> serve;
  std::function<std::unique_ptr<Forge>(Offload&, const std::filesystem::path& mirrors)> make;
  bool gives_any_commit = true;   // also one that no ref leads to any more

  friend void PrintTo(const ForgeFactory& f, std::ostream* out) { *out << f.name; }
};

class ForgeContract : public testing::TestWithParam<ForgeFactory> {
 protected:
  ForgeContract();

  Result<Snapshot> snapshot(const std::string& sha, const std::string& ref = "refs/heads/main");
  /// The error of a snapshot that must not succeed.
  Errc refusal(const std::string& sha, const std::string& ref = "refs/heads/main");
  Result<std::string> resolve(const std::string& ref);
  std::optional<std::vector<std::string>> changed(const std::string& before, const std::string& after);
  /// The same mirrors with a Forge that knows nothing yet, as after a restart.
  void restart();

  TempDir dir;
  GitRepository repo;
  std::unique_ptr<ForgeSite> site;
  std::string url;
  std::unique_ptr<Offload> pool = make_thread_offload(2);
  TestLoop loop;
  std::unique_ptr<Forge> forge;
};

}  // namespace mayfly::contract
