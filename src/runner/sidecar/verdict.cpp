#include "runner/sidecar/verdict.h"

namespace mayfly {
namespace {

std::string size_of(std::int64_t bytes) {
  if (bytes <= 0) return "the machine's";
  if (bytes % (1 << 30) == 0) return std::to_string(bytes >> 30) + " GiB";
  return std::to_string(bytes >> 20) + " MiB";
}

FinishReport verdict(Outcome outcome, Reason reason, std::string detail) {
  FinishReport report;
  report.outcome = outcome;
  report.reason = reason;
  report.detail = std::move(detail);
  return report;
}

FinishReport evicted() { return verdict(Outcome::infrastructure, Reason::evicted, evicted_detail); }

FinishReport without_last_word(const Evidence& e) {
  auto detail = e.sandbox_detail.empty() ? std::string() : ": " + e.sandbox_detail;
  if (!e.breach.empty()) return verdict(Outcome::failure, Reason::exit_code, "the job tampered with its runner: " + e.breach);
  if (e.evicted) return evicted();
  if (e.canceled) return verdict(Outcome::canceled, Reason::canceled, "the job was canceled");
  if (e.out_of_time) return verdict(Outcome::timeout, Reason::timeout, "the job did not end within its time limit");
  if (!e.service.empty()) return verdict(Outcome::failure, Reason::service, e.service);
  if (e.out_of_memory)
    return verdict(Outcome::failure, Reason::oom, "the job ran out of memory: its limit is " + size_of(e.memory_bytes));
  if (e.disk_full) return verdict(Outcome::infrastructure, Reason::disk_full, "the job's disk is full: its limit is " + size_of(e.disk_bytes));
  return verdict(Outcome::infrastructure, Reason::runner_lost, "the sandbox ended before the job did" + detail);
}

FinishReport of_failure(const Evidence& e, const InitDone& done) {
  if (e.out_of_memory || done.out_of_memory)
    return verdict(Outcome::failure, Reason::oom, done.detail + "; the job ran out of memory: its limit is " + size_of(e.memory_bytes));
  if (e.disk_full)
    return verdict(Outcome::infrastructure, Reason::disk_full, done.detail + "; the job's disk is full: its limit is " + size_of(e.disk_bytes));
  return verdict(Outcome::failure, Reason::exit_code, done.detail);
}

FinishReport with_last_word(const Evidence& e, const InitDone& done) {
  // Steps that fail beside it most likely fail because of it; those that were stopped were stopped for it.
  bool because_of_service = !e.service.empty() && !e.canceled && !e.evicted;
  if (because_of_service && done.outcome == Outcome::canceled) return verdict(Outcome::failure, Reason::service, e.service);
  if (because_of_service && done.outcome == Outcome::failure) return verdict(Outcome::failure, Reason::service, e.service + "; " + done.detail);
  switch (done.outcome) {
    case Outcome::success: return verdict(Outcome::success, Reason::none, done.detail);
    case Outcome::failure: return of_failure(e, done);
    case Outcome::timeout: return verdict(Outcome::timeout, Reason::timeout, done.detail);
    case Outcome::canceled: return e.evicted || !e.canceled ? evicted() : verdict(Outcome::canceled, Reason::canceled, done.detail);
    case Outcome::infrastructure: break;
  }
  return verdict(Outcome::infrastructure, Reason::disk_full, done.detail);
}

}  // namespace

FinishReport judge(const Evidence& e) {
  if (!e.done || !e.breach.empty()) return without_last_word(e);
  auto report = with_last_word(e, *e.done);
  report.exit_code = e.done->exit_code;
  report.outputs = e.done->outputs;
  return report;
}

}  // namespace mayfly
