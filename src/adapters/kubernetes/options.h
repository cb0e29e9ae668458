#pragma once
// What a pool of Kubernetes is told. Plain values, so that configuration and tests can have them without the adapter.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace mayfly {

enum class RunnerObject { job, pod };

struct KubernetesOptions {
  std::string pool = {};                  // whose runners these are: the value of a label
  std::string kubeconfig = {};            // a file; empty: the cluster this process runs in
  std::string context = {};               // of the file; empty: its current one
  std::string name_space = {};            // where runners live; empty: the context's, or this process's own
  RunnerObject runner_object = RunnerObject::job;
  std::string runner_image = {};          // has mayfly-runner and mayfly-init on its PATH
  std::string default_image = {};         // for jobs that name none (`host`); empty: they are refused
  std::string service_account = "mayfly-runner";
  std::vector<std::string> image_pull_secrets = {};
  std::map<std::string, std::string> node_selector = {};
  std::vector<std::string> tolerations = {};                       // each a JSON object
  std::map<std::string, std::string> runtime_classes = {};         // isolation → RuntimeClass: {gvisor: gvisor, kata: kata}
  std::string priority_class = {};
  int user = 65532;                       // everything in the pod runs as it
  bool user_namespaces = false;           // hostUsers: false, where nodes can
  std::int64_t cpu_milli = 0;             // what all jobs of the pool may use at once; 0: 4 cpus and
  std::int64_t memory_bytes = 0;          // 8 GiB a slot: the cluster's scheduler is who counts
  std::int64_t runner_cpu_milli = 250;    // of mayfly-runner, beside the job
  std::int64_t runner_memory_bytes = std::int64_t(512) << 20;
  std::int64_t service_cpu_milli = 500;   // of each service
  std::int64_t service_memory_bytes = std::int64_t(1) << 30;
  Duration start_deadline = std::chrono::minutes(10);              // an autoscaler may have to find a machine
  Duration image_patience = std::chrono::minutes(1);               // of an image that cannot be pulled
  double api_qps = 50;
  int api_burst = 100;
};

}  // namespace mayfly
