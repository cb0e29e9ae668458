#pragma once
// The services of one job: each in a sandbox of its own image, in the job's network, on the job's disk and within its limits.
// They end with the job, and the job with any of them.

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "async/offload.h"
#include "async/scope.h"
#include "runner/control/service.h"
#include "runner/sandbox/preparation.h"

namespace mayfly {

class Services final {
 public:
  /// `job` stands, and outlives this; `pid` is its first process, whose network the services join.
  Services(Loop loop, SandboxSpec spec, Defences defences, const SandboxParts& job, pid_t pid);
  ~Services();   // none of them runs any more
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  Task<std::optional<ServiceFailure>> start();   // as Sandbox::start_services
  Task<std::optional<ServiceFailure>> ended();   // as Sandbox::service_ended
  void kill();

 private:
  struct One;
  Task<void> bring_up(One& one, Scope& all, std::stop_source& stop, std::optional<ServiceFailure>& failure);
  Task<std::optional<ServiceFailure>> start_one(One& one, std::stop_token stop);
  Task<void> watch(One& one, Scope& all, std::optional<ServiceFailure>& failure);
  Task<Result<ServiceReport>> next_report(One& one);
  ServiceFailure failed(One& one, const Result<ServiceReport>& report, bool while_job_ran);
  ServiceFailure not_started(const ServiceSpec& service, const Error& error) const;

  Loop loop_;
  SandboxSpec spec_;
  Defences defences_;
  const SandboxParts& job_;
  UniqueFd user_namespace_;
  UniqueFd network_;
  std::unique_ptr<Offload> workers_;
  std::list<One> all_;
};

}  // namespace mayfly
