/* limits.h - what of a configuration is wrong although each key alone is right: bounds against each other, and all of
 * them together against the memory that the process may take. */
#ifndef WEIR_CONFIG_LIMITS_H
#define WEIR_CONFIG_LIMITS_H
#include "collector/config/load.h"
#include "collector/config/options.h"
#include "collector/config/yaml.h"

enum { WEIR_OPTIONS_MAX = 160 };

/* Where keys stand in the file, by their place in weir_options; 0 = not given. */
struct weir_lines {
    int top[WEIR_OPTIONS_MAX];
    int exporters[WEIR_EXPORTERS_MAX][WEIR_OPTIONS_MAX];
};

/* Lowest memory limit of the process's cgroups up to the root, v2 or v1, or the machine's memory; 0 = unknown.
 *   root         /sys/fs/cgroup
 *   membership   /proc/self/cgroup */
uint64_t weir_memory_limit(const char *root, const char *membership, const char **what);
/* CPUs to run on: affinity, or the cgroup's rounded-up quota when that is less; 1 to WEIR_LANES_MAX. */
uint32_t weir_cpu_limit(const char *root, const char *membership);
/* The memory that all bounds of `config` come to. */
uint64_t weir_config_memory(const struct weir_config *config, uint32_t lanes);
/* What of spool.max_bytes each exporter's spool may take, and the journal where there is one. */
uint64_t weir_config_spool_share(const struct weir_config *config);
/* Makes defaults fit a small machine: halves the largest of memory.intake and memory_bytes that the file does not give,
 * down to 4 MiB each, and max_message_bytes with the intake. */
void weir_config_fit(struct weir_config *config, const struct weir_machine *machine, const struct weir_lines *lines);
enum weir_status weir_config_check(const struct weir_config *config, const struct weir_machine *machine,
                                   const struct weir_yaml_doc *doc, const struct weir_lines *lines,
                                   struct weir_error *err);
#endif
