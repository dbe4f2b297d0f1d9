#include "collector/cli/policy/policy.h"

#include "collector/config/config.h"
#include "collector/core/clock.h"
#include "collector/sample/proxies.h"

#include <errno.h>
#include <stdio.h>

enum { NAMES_MAX = 1 << 16, NAMES_BYTES_MAX = 16 << 20 };

static enum weir_status find_policy(struct weir_policy_file *file, const char *policy, const char *path,
                                    struct weir_error *err) {
    struct weir_config *config = NULL;
    if (policy != NULL) {
        if ((size_t)snprintf(file->path, sizeof file->path, "%s", policy) < sizeof file->path) return WEIR_OK;
        return weir_fail(err, WEIR_INVALID, 0, false, "the path of the policy is too long");
    }
    enum weir_status status = weir_config_load(path, &config, err);
    if (status != WEIR_OK) return status;
    snprintf(file->path, sizeof file->path, "%s", config->sampling.policy);
    weir_config_free(config);
    if (file->path[0] != 0) return WEIR_OK;
    return weir_fail(err, WEIR_INVALID, 0, false, "%s: names no policy: sampling: { policy: sampling.yaml }", path);
}

enum weir_status weir_policy_file_read(struct weir_policy_file *file, const char *policy, const char *config,
                                       struct weir_error *err) {
    enum weir_status status = find_policy(file, policy, config, err);
    if (status != WEIR_OK) return status;
    file->names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    if (file->names == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "%s", file->path);
    status = weir_policy_load(file->path, file->names, &file->policy, err);
    if (status != WEIR_OK) return status;
    const struct weir_proxies *proxies = weir_policy_proxies(file->policy);
    if (proxies == NULL) return WEIR_OK;
    file->plan =
        weir_plan_of(proxies, weir_policy_version(file->policy), file->names, weir_unix_ns(&weir_clock_system));
    return file->plan != NULL ? WEIR_OK : weir_fail(err, WEIR_FULL, ENOMEM, false, "%s", file->path);
}

void weir_policy_file_free(struct weir_policy_file *file) {
    weir_plan_unref(file->plan);
    weir_policy_unref(file->policy);
    weir_names_free(file->names);
    *file = (struct weir_policy_file){0};
}
