#pragma once
// What every server process does around its roles: its log, its limits, its signals, its end.

#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>

#include "async/task.h"
#include "base/result.h"

namespace mayfly {

/// Before anything is opened. `log_level`: debug, info, warn or error.
void prepare_process(const std::string& log_level);

/// Says on standard error what is wrong and what to do.
void complain(const Error& error);

/// Runs `serve` until it has ended; SIGINT or SIGTERM call `stop`, once.
void run_until_stopped(boost::asio::io_context& loop, Task<void> serve, std::function<void()> stop);

}  // namespace mayfly
