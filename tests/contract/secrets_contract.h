#pragma once
// What every Secrets must do. To plug one in: link secrets_contract.cpp, and instantiate SecretsContract with a factory.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "ports/secrets.h"
#include "support/run.h"

namespace mayfly::contract {

/// A place without secrets.
class SecretsPlace {
 public:
  virtual ~SecretsPlace() = default;
  virtual Secrets& secrets() = 0;
  /// Opens it anew: nothing but what was stored is left.
  virtual void reopen() = 0;
};

struct SecretsFactory {
  std::string name;
  std::function<std::unique_ptr<SecretsPlace>(TestLoop&)> make;

  friend void PrintTo(const SecretsFactory& f, std::ostream* out) { *out << f.name; }
};

class SecretsContract : public testing::TestWithParam<SecretsFactory> {
 protected:
  void SetUp() override { place = GetParam().make(loop); }

  Result<void> set(ProjectId project, std::string name, std::string value);
  Result<std::vector<Secret>> read(ProjectId project, std::vector<std::string> names);
  /// The value, or the error's code in angle brackets.
  std::string value(ProjectId project, std::string name);
  std::vector<std::string> names(ProjectId project);

  TestLoop loop;
  std::unique_ptr<SecretsPlace> place;
  ProjectId a{{{1}}}, b{{{2}}};
};

}  // namespace mayfly::contract
