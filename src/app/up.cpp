#include "app/up.h"

#include <unistd.h>

#include <cstdio>

#include "app/process.h"
#include "app/server.h"
#include "base/log.h"

namespace mayfly {

int run_up(UpOptions options) {
  prepare_process(options.log_level);
  boost::asio::io_context loop(1);
  auto opened = EmbeddedServer::open(loop.get_executor(), {options.data_dir, options.listen, options.slots, options.image_directories, options.allowed_networks,
                                                            options.isolation_floor, options.fork_isolation_floor});
  if (!opened) {
    complain(opened.error());
    return 1;
  }
  auto& server = **opened;
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "Mayfly is at %s (data in %s)\n", server.base_url().c_str(), options.data_dir.c_str());
  log_info("ready", {{"url", server.base_url()}, {"data", options.data_dir}});
  run_until_stopped(loop, server.run(), [&] { server.stop(); });
  return 0;
}

}  // namespace mayfly
