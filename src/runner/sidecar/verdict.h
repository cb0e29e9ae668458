#pragma once
// What became of an attempt, from what init said, what the sandbox saw and what went wrong around them. Pure.

#include <optional>
#include <string>

#include "domain/runner/protocol.h"
#include "runner/control/messages.h"

namespace mayfly {

inline constexpr const char* evicted_detail = "the runner was told to go before the job had ended: its machine or its container is being shut down";

struct Evidence {
  std::optional<InitDone> done = {};       // init's last word, if it had one
  bool canceled = false;                   // somebody asked for it
  bool evicted = false;                    // the platform told the runner to go
  bool out_of_time = false;                // the sidecar ended it, beyond all limits init keeps itself
  bool out_of_memory = false;              // the sandbox's word
  bool disk_full = false;
  std::int64_t memory_bytes = 0;           // the limit
  std::int64_t disk_bytes = 0;
  std::string service = {};                // a service of the job ended while it ran: a sentence
  std::string sandbox_detail = {};         // why it ended, if it says
  std::string breach = {};                 // what init said or wrote that no init of ours does
};

/// Outcome, reason, detail, exit code and outputs.
FinishReport judge(const Evidence& evidence);

}  // namespace mayfly
