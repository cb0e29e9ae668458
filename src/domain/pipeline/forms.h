#pragma once
// The forms of single values in a pipeline: names, globs, paths, durations, sizes. The tables of shape.h speak of them.

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"
#include "domain/pipeline/yaml.h"

namespace mayfly {

bool is_name(std::string_view);               // of jobs, axes, inputs
bool is_host_name(std::string_view);          // one label of one: of services
bool is_service_command(std::string_view);    // fits where services are described
bool is_environment_name(std::string_view);
bool is_label(std::string_view);              // of a pool
bool is_filter(std::string_view);             // a glob, maybe with `!`
bool is_relative_path(std::string_view);      // stays within the workspace
bool is_image(std::string_view);
bool is_registry_image(std::string_view);     // neither host, oci:… nor a directory
bool has_own_command(std::string_view);       // an image with a configuration: neither host nor a directory
bool is_shell(std::string_view);
bool is_cron(std::string_view);
bool is_time_zone(std::string_view);

// nullopt: not of that form.
std::optional<std::int64_t> read_integer(const YamlNode&);    // 3, 3.0
std::optional<Duration> read_duration(const YamlNode&);       // 90s, 20m, 1h30m, 14d; a number is seconds
std::optional<std::int64_t> read_size(const YamlNode&);       // bytes: 4Gi, 500M, 1048576
std::optional<std::int64_t> read_cpu(const YamlNode&);        // thousandths of a core: 2, 0.5, 500m

}  // namespace mayfly
