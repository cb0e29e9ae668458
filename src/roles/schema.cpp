#include "roles/schema.h"

namespace mayfly {
namespace {

constexpr std::string_view first = R"sql(
create table organizations (
  id text primary key,
  name text not null unique,
  weight bigint not null,
  created_at bigint not null
);

create table projects (
  id text primary key,
  organization_id text not null references organizations (id),
  name text not null,
  repo_url text not null,
  repo_key text not null,
  secret_id text,
  weight bigint not null,
  next_number bigint not null,
  created_at bigint not null,
  deleted_at bigint
);
create unique index projects_by_name on projects (name) where deleted_at is null;
create index projects_by_repository on projects (repo_key);

create table deliveries (
  id text primary key,
  project_id text not null,
  provider text not null,
  provider_id text not null,
  event text not null,
  body bytea not null,
  received_at bigint not null,
  status text not null,
  detail text not null,
  build_id text,
  tries bigint not null,
  not_before bigint not null
);
create unique index deliveries_once on deliveries (project_id, provider, provider_id);
create index deliveries_open on deliveries (not_before) where status = 'received';

create table builds (
  id text primary key,
  project_id text not null,
  organization_id text not null,
  number bigint not null,
  status text not null,
  sequence bigint not null,
  canceled bigint not null,
  trigger_type text not null,
  event text not null,
  ref text not null,
  commit_sha text not null,
  message text not null,
  author text not null,
  pipeline text not null,
  errors text not null,
  meaning text,
  retry_of text,
  created_at bigint not null,
  start_time bigint,
  end_time bigint
);
create unique index builds_by_number on builds (project_id, number);
create unique index builds_by_meaning on builds (project_id, meaning);
create index builds_by_project on builds (project_id, id);
create index builds_by_status on builds (status, id);
create index builds_open on builds (id) where status in ('queued', 'running');

create table jobs (
  id text primary key,
  build_id text not null,
  position bigint not null,
  name text not null,
  spec text not null,
  status text not null,
  reason text not null,
  detail text not null,
  attempt bigint not null,
  fence bigint not null,
  attempt_id text,
  pool text not null,
  runner_id text not null,
  infrastructure_retries bigint not null,
  user_retries bigint not null,
  not_before bigint not null,
  queued_at bigint,
  assigned_at bigint,
  start_time bigint,
  end_time bigint,
  exit_code bigint,
  outputs text not null,
  steps text not null,
  tests text,
  log_bytes bigint not null,
  log_path text,
  source_job_id text
);
create unique index jobs_by_build on jobs (build_id, position);
create index jobs_live on jobs (status) where status in ('queued', 'assigned', 'running');

create table attempts (
  id text primary key,
  job_id text not null,
  build_id text not null,
  number bigint not null,
  fence bigint not null,
  pool text not null,
  runner_id text not null,
  outcome text,
  reason text not null,
  detail text not null,
  exit_code bigint,
  assigned_at bigint not null,
  start_time bigint,
  end_time bigint,
  log_bytes bigint not null,
  steps text not null
);
create unique index attempts_by_job on attempts (job_id, number);

create table log_chunks (
  attempt_id text not null,
  first_offset bigint not null,
  length bigint not null,
  data bytea,
  blob_key text,
  created_at bigint not null,
  primary key (attempt_id, first_offset)
);

create table artifacts (
  id text primary key,
  attempt_id text not null,
  job_id text not null,
  build_id text not null,
  kind text not null,
  path text not null,
  size bigint not null,
  sha256 text not null,
  blob_key text not null,
  created_at bigint not null,
  expires_at bigint
);
create unique index artifacts_once on artifacts (attempt_id, kind, path);
create index artifacts_by_build on artifacts (build_id, id);
create index artifacts_by_expiry on artifacts (expires_at) where expires_at is not null;

create table events (
  build_id text not null,
  sequence bigint not null,
  part bigint not null,
  at bigint not null,
  kind text not null,
  body text not null,
  primary key (build_id, sequence, part)
);

create table outbox (
  id text primary key,
  topic text not null,
  key text not null,
  payload text not null
);

create table leases (
  name text primary key,
  holder text not null,
  epoch bigint not null,
  until bigint not null
);

create table tokens (
  id text primary key,
  name text not null,
  hash text not null unique,
  role text not null,
  organization_id text,
  created_at bigint not null,
  expires_at bigint
);

create table audit (
  id text primary key,
  at bigint not null,
  actor text not null,
  action text not null,
  subject text not null,
  detail text not null
);

create table secrets (
  project_id text not null,
  name text not null,
  nonce bytea not null,
  sealed bytea not null,
  created_at bigint not null,
  primary key (project_id, name)
);
)sql";

// Roles in many processes: leases by beats, pools that say what they are, deliveries that one process has claimed.
constexpr std::string_view apart = R"sql(
drop table leases;
create table leases (
  name text primary key,
  holder text not null,
  epoch bigint not null,
  beat bigint not null
);

create table pools (
  name text primary key,
  cpu_milli bigint not null,
  memory_bytes bigint not null,
  slots bigint not null,
  labels text not null,
  isolations text not null
);

alter table deliveries add column claimed_by text;
)sql";

// History goes by time, which its leading ids begin with: on PostgreSQL a partition is dropped when nobody needs it any more.
constexpr std::string_view history_by_time = R"sql(
create table events_by_time (
  build_id text /*postgres: collate "C" */ not null,
  sequence bigint not null,
  part bigint not null,
  at bigint not null,
  kind text not null,
  body text not null,
  primary key (build_id, sequence, part)
) /*postgres: partition by range (build_id) */;
/*postgres: create table events_rest partition of events_by_time default; */
insert into events_by_time (build_id, sequence, part, at, kind, body) select build_id, sequence, part, at, kind, body from events;
drop table events;
alter table events_by_time rename to events;

create table log_chunks_by_time (
  attempt_id text /*postgres: collate "C" */ not null,
  first_offset bigint not null,
  length bigint not null,
  data bytea,
  blob_key text,
  created_at bigint not null,
  primary key (attempt_id, first_offset)
) /*postgres: partition by range (attempt_id) */;
/*postgres: create table log_chunks_rest partition of log_chunks_by_time default; */
insert into log_chunks_by_time (attempt_id, first_offset, length, data, blob_key, created_at)
  select attempt_id, first_offset, length, data, blob_key, created_at from log_chunks;
drop table log_chunks;
alter table log_chunks_by_time rename to log_chunks;
)sql";

// Uploads that runners make to the blob store themselves, until they are artifacts; logs of ended attempts, each one object.
constexpr std::string_view objects = R"sql(
create table artifact_uploads (
  id text primary key,
  attempt_id text not null,
  job_id text not null,
  build_id text not null,
  kind text not null,
  path text not null,
  size bigint not null,
  sha256 text not null,
  blob_key text not null,
  expires_at bigint,
  gives_up_at bigint not null
);
create index artifact_uploads_by_end on artifact_uploads (gives_up_at);

create table log_objects (
  attempt_id text /*postgres: collate "C" */ not null,
  size bigint not null,
  lines bigint not null,
  line_index bytea not null,
  data bytea,
  blob_key text,
  created_at bigint not null,
  untidy_since bigint,
  primary key (attempt_id)
) /*postgres: partition by range (attempt_id) */;
/*postgres: create table log_objects_rest partition of log_objects default; */
create index log_objects_untidy on log_objects (untidy_since) where untidy_since is not null;
)sql";

// How strongly runners are walled off: what pools promise, and what attempts truly had.
constexpr std::string_view isolation = R"sql(
alter table pools add column isolation_floor text not null default 'sandbox';
alter table pools add column fork_isolation_floor text not null default 'sandbox';
alter table jobs add column isolation text not null default '';
alter table attempts add column isolation text not null default '';
)sql";

// How platforms vouch for their runners (roles/runners/token_issuers.h).
constexpr std::string_view pod_identities = R"sql(
create table pod_identities (
  pool text primary key,
  issuer text not null,
  jwks text not null,
  name_space text not null,
  service_account text not null,
  updated_at bigint not null
);
)sql";

// Pools that people drain and that fall silent; what a scheduler hands to the next one; the instants a start went by.
constexpr std::string_view pools_seen = R"sql(
alter table pools add column executor text not null default 'sandbox';
alter table pools add column warm bigint not null default 0;
alter table pools add column drained_by text;
alter table pools add column drained_at bigint;
alter table pools add column silent_since bigint;

create table usage_snapshots (
  name text primary key,
  at bigint not null,
  body text not null
);

alter table builds add column received_at bigint;
alter table builds add column planned_from bigint;
alter table jobs add column born_at bigint;
alter table jobs add column first_byte_at bigint;
)sql";

// Jobs that wait for people after a step has failed.
constexpr std::string_view holds = "alter table jobs add column held_until bigint;";

}  // namespace

const std::vector<Migration>& schema() {
  static const std::vector<Migration> steps = {{1, "first", first}, {2, "apart", apart}, {3, "history by time", history_by_time}, {4, "objects", objects},
                                               {5, "isolation", isolation}, {6, "pod identities", pod_identities}, {7, "pools seen", pools_seen},
                                               {8, "holds", holds}};
  return steps;
}

}  // namespace mayfly
