#include "domain/build/reason.h"

#include "domain/names.h"

namespace mayfly {
namespace {

constexpr Name<Reason> reasons[] = {
    {Reason::none, ""},
    {Reason::exit_code, "exit_code"},
    {Reason::oom, "oom"},
    {Reason::timeout, "timeout"},
    {Reason::canceled, "canceled"},
    {Reason::disk_full, "disk_full"},
    {Reason::service, "service"},
    {Reason::runner_lost, "runner_lost"},
    {Reason::node_lost, "node_lost"},
    {Reason::image_pull, "image_pull"},
    {Reason::evicted, "evicted"},
    {Reason::preempted, "preempted"},
    {Reason::unschedulable, "unschedulable"},
    {Reason::start_deadline, "start_deadline"},
    {Reason::pool_lost, "pool_lost"},
    {Reason::source, "source"},
    {Reason::isolation, "isolation"},
    {Reason::refused, "refused"},
    {Reason::filtered, "filtered"},
    {Reason::needs_failed, "needs_failed"},
    {Reason::fail_fast, "fail_fast"},
    {Reason::pipeline, "pipeline"},
};

constexpr Name<Outcome> outcomes[] = {
    {Outcome::success, "success"},   {Outcome::failure, "failure"},
    {Outcome::timeout, "timeout"},   {Outcome::canceled, "canceled"},
    {Outcome::infrastructure, "infrastructure"},
};

}  // namespace

std::string_view to_string(Reason r) { return name_of(reasons, r); }
std::optional<Reason> reason_from(std::string_view text) { return value_of(reasons, text); }
std::string_view to_string(Outcome o) { return name_of(outcomes, o); }
std::optional<Outcome> outcome_from(std::string_view text) { return value_of(outcomes, text); }

}  // namespace mayfly
