#include "cli/run_loop.h"

#include <boost/asio/io_context.hpp>

#include "async/scope.h"

namespace mayfly::cli {

int run_on_loop(std::function<Task<int>(Loop)> make) {
  boost::asio::io_context io{1};
  int exit_code = 0;
  auto keep = [&]() -> Task<void> { exit_code = co_await make(io.get_executor()); };
  Scope scope(io.get_executor());
  scope.spawn(keep());
  io.run();
  return exit_code;
}

}  // namespace mayfly::cli
