#pragma once
// A pod of an attempt as its containers know it: what adapters/kubernetes writes into the pod and runner/pod finds there.
//
//   container  image         command                                                                    mounts
//   install    the pool's    mayfly-init --install /mayfly/bin                                          bin (to write)
//   runner     the pool's    mayfly-runner --pod                                                        meeting, state, workspace, identity
//   <service>  its own       its own
//   job        the job's     /mayfly/bin/mayfly-init --dir /mayfly/meeting --workspace /workspace       bin and meeting (read-only), workspace, tmp
//
// `install` is an init container and ends; `runner` and the services are init containers that stay (native sidecars), and the job's
// starts when the services' startup probes have succeeded. All three of ours run as one unprivileged user, group and fsGroup, with no
// capability, no shared process namespace, and root file systems that may be read-only. The directories are emptyDirs; only `runner`
// mounts state. `runner` has the environment below and nothing secret in it: it proves who it is with the token in identity_file, which
// only it mounts and which is fresh whenever it is read. Its runner_id is NODE/POD/UID.
//
// Kubernetes ends `runner` soon after `job` has ended: mayfly-init stays until the runner has said its last word to the server and
// closes their connection. `runner` leaves an EndedFile (adapters/host_runners/runner_files.h) in last_word_file, which becomes a part
// of the pod's status; then it stays until it is told to go, for a native sidecar that ends is started again. A runner that was not the first
// leaves none. mayfly-init ends with 0 after its last word, with 1 when its runner went away under it, with 3 when no runner had a job for
// it (a second pod of the attempt): then nothing has run.
//
// Under gVisor meeting is one directory for both containers only with the annotations dev.gvisor.spec.mount.<volume>.{share: pod, type: tmpfs,
// options: rw}. The pod's terminationGracePeriodSeconds is 30 or more.

namespace mayfly::pod {

inline constexpr const char* install_container = "install";
inline constexpr const char* runner_container = "runner";
inline constexpr const char* job_container = "job";

inline constexpr const char* bin_directory = "/mayfly/bin";
inline constexpr const char* meeting_directory = "/mayfly/meeting";       // what the job's and the runner's container share: a socket
inline constexpr const char* state_directory = "/mayfly/state";           // the runner's own: the log, files on their way, what it must know after a crash
inline constexpr const char* workspace_directory = "/workspace";
inline constexpr const char* tmp_directory = "/tmp";
inline constexpr const char* installed_init = "/mayfly/bin/mayfly-init";
inline constexpr const char* identity_file = "/var/run/mayfly/identity/token";
inline constexpr const char* last_word_file = "/dev/termination-log";     // at most 4,096 bytes
inline constexpr const char* identity_audience = "mayfly";

inline constexpr const char* runner_file_variable = "MAYFLY_RUNNER_FILE"; // the text of a RunnerFile (adapters/host_runners/runner_files.h): attempt, fence, api_url, …
inline constexpr const char* identity_file_variable = "MAYFLY_IDENTITY_FILE";
inline constexpr const char* node_variable = "MAYFLY_NODE";               // the node's name
inline constexpr const char* pod_variable = "MAYFLY_POD";                 // the pod's name
inline constexpr const char* pod_uid_variable = "MAYFLY_POD_UID";

}  // namespace mayfly::pod
