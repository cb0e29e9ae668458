#pragma once
// What the API shows of builds, jobs, projects and artifacts: JSON texts, the same for answers, streams and the page.

#include <string>
#include <vector>

#include "roles/builds/deliveries.h"
#include "roles/builds/records.h"
#include "roles/common/pools.h"
#include "roles/common/projects.h"
#include "roles/runners/artifact_store.h"
#include "roles/scheduler/wait_reasons.h"

namespace mayfly {

std::string build_view(const BuildRecord& build, const WhyWaits& why, std::string_view base_url);
std::string project_view(const Project& project);
std::string artifact_view(const Artifact& artifact, std::string_view job_name);
/// `numbers`: what the scheduler knows of it, if it answered.
std::string pool_view(const PoolRecord& pool, const PoolLoad& load, const std::optional<PoolNumbers>& numbers);
/// "active", "draining", "drained" or "silent".
std::string_view pool_state(const PoolRecord& pool, const PoolLoad& load);
std::string delivery_view(const DeliveryRecord& delivery);

/// A build in a list: without its jobs.
struct BuildSummary {
  BuildHeader header;
  BuildStatus status = BuildStatus::queued;
  std::int64_t sequence = 0;
  Time created_at{};
  std::optional<Time> start_time, end_time;
};
std::string build_summary_view(const BuildSummary& build, std::string_view base_url);

/// {"items": […], "next": cursor or null}
std::string page_view(const std::vector<std::string>& items, const std::optional<std::string>& next);

}  // namespace mayfly
