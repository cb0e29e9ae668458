#include "cli/cli.h"

#include <csignal>

#include "cli/arguments.h"
#include "cli/process_world.h"

namespace mayfly::cli {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

int run(const std::vector<std::string>& arguments, World& world, const Programs& programs) {
  auto invocation = parse_arguments(arguments, world.environment);
  if (!invocation) {
    auto& usage = invocation.error();
    usage.exit_code == done ? world.console.out(usage.text) : world.console.err(usage.text);
    return usage.exit_code;
  }
  return std::visit(Overloaded{
                        [&](const UpOptions& options) { return programs.up(options); },
                        [&](const Version&) {
                          world.console.out(invocation->json ? "{\"version\":\"" MAYFLY_VERSION "\"}\n" : "mayfly " MAYFLY_VERSION "\n");
                          return done;
                        },
                        [&](const auto&) { return used_wrongly; },
                    },
                    invocation->command);
}

int run(int argc, char** argv, const Programs& programs) {
  ProcessWorld process;
  return run(std::vector<std::string>(argv + 1, argv + argc), process.world(), programs);
}

}  // namespace mayfly::cli
