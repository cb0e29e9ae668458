#include "app/server.h"

#include "app/node.h"
#include "roles/builds/planning.h"
#include "roles/common/projects.h"

namespace mayfly {
namespace {

constexpr const char* alone = "local";

}  // namespace

EmbeddedServer::EmbeddedServer(std::unique_ptr<Node> node) : node_(std::move(node)) {}
EmbeddedServer::~EmbeddedServer() = default;

Result<std::unique_ptr<EmbeddedServer>> EmbeddedServer::open(Loop loop, ServerConfig config) {
  TRY_ASSIGN(auto adapters, open_embedded(loop, config.data_dir));
  NodeOptions options{.name = alone, .alone = true, .roles = NodeConfig{}.roles, .listen = config.listen};
  options.pools.push_back({.name = alone, .data_dir = adapters->dir->path(), .slots = config.slots,
                           .image_directories = config.image_directories, .allowed_networks = config.allowed_networks,
                           .registries = std::move(config.registries), .user_namespaces = config.user_namespaces,
                           .isolation_floor = config.isolation_floor, .fork_isolation_floor = config.fork_isolation_floor,
                           .docker = config.docker});
  TRY_ASSIGN(auto node, Node::open(std::move(adapters), std::move(options)));
  return std::unique_ptr<EmbeddedServer>(new EmbeddedServer(std::move(node)));
}

const std::string& EmbeddedServer::base_url() const { return node_->base_url(); }
const std::string& EmbeddedServer::token() const { return node_->adapters().token; }
Task<void> EmbeddedServer::run() { co_await node_->run(); }
void EmbeddedServer::stop() { node_->stop(); }

Task<Result<std::string>> EmbeddedServer::build_once(std::string project, cli::LocalBuild wanted) {
  auto& a = node_->adapters();
  CO_TRY_ASSIGN(auto made, co_await add_project(*a.db, a.clock, a.entropy, {.name = std::move(project), .repo_url = std::move(wanted.repository)}));
  for (auto& [name, value] : wanted.secrets) {
    CO_TRY(co_await a.secrets->set(made.id, {name, std::move(value)}));
  }
  BuildRequest request{.project = std::move(made), .event = std::move(wanted.event), .only = std::move(wanted.jobs)};
  CO_TRY_ASSIGN(auto planned, co_await plan_build(*a.forge, a.clock, a.entropy, std::move(request)));
  if (!planned.build) co_return fail(Errc::unsupported, "no build: " + planned.why_not, "mayfly plan shows what each event does");
  hold_on_failure(*planned.build, wanted.hold);
  auto id = planned.build->header.id.str();
  CO_TRY(co_await node_->builds().create(std::move(*planned.build), {}));
  co_return id;
}

}  // namespace mayfly
