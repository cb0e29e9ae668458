#pragma once
// Whether what happened is what a pipeline's `on` waits for.

#include <cstddef>
#include <string>

#include "domain/pipeline/pipeline.h"

namespace mayfly {

struct Listening {
  enum class Answer { no, filtered, yes };  // filtered: no changed path matches, so the jobs exist and are skipped

  Answer answer = Answer::yes;
  std::string why;                          // of no and filtered: a sentence
};

/// `most_changed_paths`: with more, path filters match.
Listening listens(const Pipeline&, const TriggerEvent&, std::size_t most_changed_paths);

}  // namespace mayfly
