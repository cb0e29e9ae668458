#include "cli/cli.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "adapters/system/system_clock.h"
#include "cli/arguments.h"
#include "cli/client/endpoint.h"
#include "cli/commands/commands.h"
#include "cli/process_world.h"
#include "cli/run_loop.h"
#include "net/client.h"

namespace mayfly::cli {
namespace {

int verdict(World& world, Result<int> result) {
  if (result) return *result;
  world.console.err(error_text(result.error()));
  return exit_code_of(result.error());
}

template <class Options>
Task<int> ask_server(World& world, Endpoint endpoint, bool json, Options options, Loop loop) {
  SystemClock clock(loop);
  http::Client client(loop);
  Api api(client, clock, std::move(endpoint));
  Session session{world, api, clock, loop, json};
  co_return verdict(world, co_await execute(session, std::move(options)));
}

struct Dispatch {
  World& world;
  const Programs& programs;
  const Invocation& invocation;

  int operator()(const UpOptions& options) const { return programs.up(options); }
  int operator()(const ServeOptions& options) const { return programs.serve(options); }
  int operator()(const Version&) const {
    world.console.out(invocation.json ? "{\"version\":\"" MAYFLY_VERSION "\"}\n" : "mayfly " MAYFLY_VERSION "\n");
    return done;
  }
  int operator()(const Lint& options) const { return verdict(world, execute(world, invocation.json, options)); }
  int operator()(const ShowPlan& options) const { return verdict(world, execute(world, invocation.json, options)); }
  int operator()(const RunHere& options) const { return verdict(world, execute(world, invocation.json, programs, options)); }

  template <class Options>
  int operator()(const Options& options) const {
    auto endpoint = find_endpoint(invocation.connection, world.environment);
    if (!endpoint) return verdict(world, std::unexpected(endpoint.error()));
    return run_on_loop([&](Loop loop) { return ask_server(world, *endpoint, invocation.json, options, loop); });
  }
};

}  // namespace

int run(const std::vector<std::string>& arguments, World& world, const Programs& programs) {
  auto invocation = parse_arguments(arguments, world.environment);
  if (!invocation) {
    auto& usage = invocation.error();
    usage.exit_code == done ? world.console.out(usage.text) : world.console.err(usage.text);
    return usage.exit_code;
  }
  return std::visit(Dispatch{world, programs, *invocation}, invocation->command);
}

int run(int argc, char** argv, const Programs& programs) {
  ProcessWorld process;
  return run(std::vector<std::string>(argv + 1, argv + argc), process.world(), programs);
}

}  // namespace mayfly::cli
