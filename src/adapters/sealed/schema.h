#pragma once
// The table of sealed secrets, for the program's list of migrations.

#include <string_view>

namespace mayfly {

inline constexpr std::string_view sealed_secrets_table = R"(
CREATE TABLE secrets (
  project_id text NOT NULL,
  name text NOT NULL,
  nonce bytea NOT NULL,
  sealed bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (project_id, name)
);
)";

}  // namespace mayfly
