#include "app/local.h"
#include "app/serve.h"
#include "app/up.h"
#include "cli/cli.h"

int main(int argc, char** argv) { return mayfly::cli::run(argc, argv, {.up = mayfly::run_up, .serve = mayfly::run_serve, .with_server = mayfly::with_local_server}); }
