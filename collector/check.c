#include "collector/check.h"
#include "collector/attributes/rules.h"
#include "collector/config/limits.h"
#include "collector/config/lists.h"
#include "collector/config/options.h"
#include "collector/config/values.h"
#include "collector/config/yaml.h"
#include "collector/core/ledger.h"
#include "collector/core/signature.h"
#include "collector/receive/tls.h"
#include "collector/receive/tokens.h"
#include "collector/sample/keep.h"
#include "collector/sample/policy.h"
#include "collector/sample/proxies.h"
#include "exporters/exporter.h"

#include <stdio.h>
#include <string.h>

static void print_listen(const char *name, const struct weir_listen *listen) {
    if (!listen->on) {
        printf("  %-10s off\n", name);
    } else {
        printf("  %-10s %s:%u%s\n", name, listen->host, listen->port,
               listen->asked ? "" : "   (default; off with a warning if taken)");
    }
}

static void print_bytes(uint64_t bytes, const char *what) {
    printf("  %-10s %.1f MiB, %s\n", "memory", (double)bytes / (1024 * 1024), what);
}

static void print_rule(const struct weir_keep_rule *rule) {
    char rate[32], limit[48] = "", dynamic[64] = "";
    snprintf(rate, sizeof rate, "%.4g %%", 100 * rule->rate);
    if (rule->max_traces_per_second > 0)
        snprintf(limit, sizeof limit, ", at most %g traces/s", rule->max_traces_per_second);
    if (rule->dynamic != NULL && rule->dynamic->share > 0)
        snprintf(dynamic, sizeof dynamic, ", %.4g %% over keys", 100 * rule->dynamic->share);
    else if (rule->dynamic != NULL)
        snprintf(dynamic, sizeof dynamic, ", %g traces/s over keys", rule->dynamic->traces_per_second);
    printf("  %-10s   %-20s keeps %s%s%s%s\n", "", rule->name, rate, dynamic, limit,
           rule->dry_run ? " (dry run: only counts)" : "");
}

static void print_told(const char *name, const struct weir_proxies *proxies,
                       const struct weir_proxies_service *service) {
    double rate = service->rule.rate >= 0 ? service->rule.rate : proxies->fallback.rule.rate;
    bool bounded = weir_proxies_bounds(&proxies->budget) || weir_proxies_bounds(&service->budget);
    char said[48] = "what the budget leaves", limit[64] = "", floor[64] = "", rows[48] = "";
    if (rate >= 0)
        snprintf(said, sizeof said, "%s%.4g %%", bounded && rate > 0 && rate < 1 ? "at most " : "", 100 * rate);
    if (service->max_traces_per_second >= 0)
        snprintf(limit, sizeof limit, ", Jaeger's clients %g traces/s each", service->max_traces_per_second);
    if (service->rule.floor > 0 && rate != 0)
        snprintf(floor, sizeof floor, ", at least %g traces/s of each operation", service->rule.floor);
    if (service->operation_count > 0)
        snprintf(rows, sizeof rows, ", %u operation%s apart", service->operation_count,
                 service->operation_count == 1 ? "" : "s");
    printf("  %-10s   %-20s begins %s%s%s%s\n", "", name, said, limit, floor, rows);
}

static void print_budget(const char *name, const struct weir_proxies_budget *budget) {
    char spans[48] = "", bytes[48] = "", cpu[64] = "", size[32];
    if (budget->spans_per_second > 0) snprintf(spans, sizeof spans, " %g spans/s", budget->spans_per_second);
    if (budget->bytes_per_second > 0) {
        weir_value_print_bytes((uint64_t)budget->bytes_per_second, size, sizeof size);
        snprintf(bytes, sizeof bytes, "%s %s/s", spans[0] != 0 ? "," : "", size);
    }
    if (budget->proxy_cpu > 0)
        snprintf(cpu, sizeof cpu, "%s %.4g %% of a core of each proxy", spans[0] != 0 || bytes[0] != 0 ? "," : "",
                 100 * budget->proxy_cpu);
    if (spans[0] != 0 || bytes[0] != 0 || cpu[0] != 0)
        printf("  %-10s   %-20s may cost%s%s%s\n", "", name, spans, bytes, cpu);
}

enum { TOLD_LINES = 20 };

/* What proxies would be told. */
static void print_proxies(const struct weir_proxies *proxies, const struct weir_names *names) {
    uint32_t shown = proxies->service_count < TOLD_LINES ? proxies->service_count : TOLD_LINES;
    char length[32];
    printf("  %-10s %u service%s; proxies and clients are told:\n", "proxies", proxies->service_count,
           proxies->service_count == 1 ? "" : "s");
    for (uint32_t i = 0; i < shown; i++)
        print_told(weir_names_text(names, proxies->services[i].rule.name, NULL), proxies, &proxies->services[i]);
    if (shown < proxies->service_count) printf("  %-10s   and %u more\n", "", proxies->service_count - shown);
    print_told("default", proxies, &proxies->fallback);
    for (uint32_t i = 0; i < shown; i++)
        print_budget(weir_names_text(names, proxies->services[i].rule.name, NULL), &proxies->services[i].budget);
    print_budget("all together", &proxies->budget);
    if (!proxies->incident.on) return;
    weir_value_print_duration(proxies->incident.for_ns, length, sizeof length);
    printf("  %-10s   %-20s up to %g times its rate, until %s after its end\n", "", "in an incident",
           proxies->incident.factor, length);
}

static void print_policy(const char *what, const char *path, const struct weir_policy *policy) {
    char wait[32], quiet[32];
    const struct weir_keep *keep = policy != NULL ? weir_policy_keep_part(policy) : NULL;
    printf("  %-10s %s\n", what, *path != 0 ? path : "everything is kept");
    if (*path != 0 && !weir_policy_keeps_all(policy))
        printf("  %-10s   each span is kept or left out by the rates of `collector:`\n", "");
    else if (*path != 0 && keep == NULL)
        printf("  %-10s   everything is kept: there is no `keep:`, and no rate of `collector:`\n", "");
    if (keep == NULL) return;
    weir_value_print_duration(keep->wait_ns, wait, sizeof wait);
    weir_value_print_duration(keep->quiet_ns, quiet, sizeof quiet);
    printf("  %-10s   traces wait for %s, with their root until %s of quiet; the first rule that matches decides\n", "",
           wait, quiet);
    for (uint32_t r = 0; r < keep->rule_count; r++)
        print_rule(&keep->rules[r]);
    printf("  %-10s   %-20s keeps 100 %%: what no rule matches\n", "", "none");
}

/* The files of every listener that runs: certificates, keys, authorities, tokens, what datagrams are signed with. */
static enum weir_status check_files(const struct weir_config *config, struct weir_error *err) {
    const struct {
        const char *name;
        const struct weir_listen *listen;
        const struct weir_tls_config *tls;
        const char *tokens;
    } all[] = {
        {"grpc", &config->grpc.listen, &config->grpc.tls, config->grpc.bearer_token_file},
        {"otlp_http", &config->otlp_http.listen, &config->otlp_http.tls, config->otlp_http.bearer_token_file},
        {"zipkin", &config->zipkin.listen, &config->zipkin.tls, config->zipkin.bearer_token_file},
        {"sampling", &config->sampling_http.listen, &config->sampling_http.tls,
         config->sampling_http.bearer_token_file},
        {"scribe", &config->scribe.listen, &config->scribe.tls, ""},
        {"admin", &config->admin.listen, &config->admin.tls, config->admin.bearer_token_file},
    };
    enum weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < sizeof all / sizeof all[0]; i++) {
        struct weir_tls *tls = NULL;
        struct weir_tokens *tokens = NULL;
        if (!all[i].listen->on) continue;
        status = weir_tls_open(&tls, all[i].name, all[i].tls, NULL, NULL, err);
        if (status == WEIR_OK) status = weir_tokens_open(&tokens, all[i].name, all[i].tokens, err);
        weir_tls_close(tls);
        weir_tokens_close(tokens);
    }
    if (status == WEIR_OK && config->datagram.listen.on && config->datagram.hmac_key_file[0] != 0) {
        struct weir_signer *signer = NULL;
        status = weir_signer_open(&signer, "receivers.datagram.hmac_key_file", config->datagram.hmac_key_file, err);
        weir_signer_close(signer);
    }
    return status;
}

/* Named by its line, and by its key unless the exporter has done so. */
static enum weir_status check_exporter(const struct weir_config *config, const struct weir_exporter_config *one,
                                       struct weir_error *err) {
    const struct weir_exporter *exporter = weir_exporter_find(one->type);
    enum weir_status status = exporter->check == NULL ? WEIR_OK : exporter->check(one, err);
    if (status == WEIR_OK) return WEIR_OK;
    const struct weir_error inner = *err;
    char path[96];
    weir_yaml_name(config->path, path, sizeof path);
    bool named = strncmp(inner.text, "exporters.", 10) == 0;
    return weir_fail(err, status, 0, false, "%s:%d: %s%s%s%.140s", path, one->line, named ? "" : "exporters.",
                     named ? "" : one->name, named ? "" : ": ", inner.text);
}

/* Bit r of enum weir_receiver_id. */
static uint32_t receivers_on(const struct weir_config *config) {
    const bool on[WEIR_RECEIVERS] = {[WEIR_RECEIVER_GRPC] = config->grpc.listen.on,
                                     [WEIR_RECEIVER_OTLP_HTTP] = config->otlp_http.listen.on,
                                     [WEIR_RECEIVER_ZIPKIN] = config->zipkin.listen.on,
                                     [WEIR_RECEIVER_SCRIBE] = config->scribe.listen.on,
                                     [WEIR_RECEIVER_DATAGRAM] = config->datagram.listen.on,
                                     [WEIR_RECEIVER_ACCESS_LOG] = config->access_log.listen.on,
                                     [WEIR_RECEIVER_STATSD] = config->statsd.listen.on};
    uint32_t bits = 0;
    for (uint32_t r = 0; r < WEIR_RECEIVERS; r++)
        bits |= (uint32_t)on[r] << r;
    return bits;
}

static void print_spool(const struct weir_config *config) {
    double share = (double)weir_config_spool_share(config) / (1 << 20);
    uint32_t spools = 0;
    for (uint32_t i = 0; i < config->exporter_count; i++)
        spools += config->exporters[i].spool ? 1 : 0;
    if (config->spool.directory[0] != 0 && spools > 0)
        printf("  %-10s %s/exporters, %.1f MiB at most for each\n", "spool", config->spool.directory, share);
    if (config->spool.durable)
        printf("  %-10s %s/journal, %.1f MiB at most; senders wait for the disk\n", "durable", config->spool.directory,
               share);
}

static void print_renders(const struct weir_config *config, const struct weir_policy *policy) {
    for (uint32_t i = 0; i < config->render_count; i++) {
        const struct weir_render_config *one = &config->renders[i];
        printf("  %-10s %s: %s for %s%s%s\n", i == 0 ? "render" : "", one->path, weir_render_names[one->kind],
               one->service[0] != 0 ? one->service : "services by default", one->command[0] != 0 ? ", then " : "",
               one->command);
    }
    if (config->render_count > 0 && weir_policy_proxies(policy) == NULL)
        fprintf(stderr, "%s:%d: warning: render: no file is written: the policy has no `proxies:`\n", config->path,
                config->renders[0].line);
}

static void warn(void *self, int line, const char *text) {
    fprintf(stderr, "%s:%d: warning: %s\n", (const char *)self, line, text);
}

static void warn_of_shadow(const struct weir_policy *shadow, const char *path) {
    const struct weir_proxies *proxies = weir_policy_proxies(shadow);
    if (proxies != NULL)
        fprintf(stderr, "%s:%d: warning: proxies: of a shadow tells nobody; see sampling.canary.policy\n", path,
                proxies->line);
}

static void warn_of_nobody(const struct weir_config *config, const struct weir_policy *policy) {
    bool asked = config->grpc.listen.on || config->sampling_http.listen.on || config->datagram.listen.on;
    const struct weir_proxies *proxies = weir_policy_proxies(policy);
    if (proxies != NULL && !asked && config->render_count == 0)
        fprintf(stderr,
                "%s:%d: warning: proxies: nobody is told: none of the receivers `grpc`, `sampling` and `datagram` is "
                "on, and `render:` "
                "has no file\n",
                config->sampling.policy, proxies->line);
}

int weir_check(const char *path) {
    struct weir_error err = {0};
    struct weir_config *config = NULL;
    struct weir_policy *policy = NULL, *shadow = NULL, *canary = NULL;
    struct weir_names *names = weir_names_new(65536, 8u << 20);
    if (names == NULL) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    enum weir_status status = weir_config_load(path, &config, &err);
    if (status == WEIR_OK) status = check_files(config, &err);
    for (uint32_t i = 0; status == WEIR_OK && i < config->exporter_count; i++)
        status = check_exporter(config, &config->exporters[i], &err);
    struct weir_rules *rules = NULL;
    if (status == WEIR_OK) status = weir_rules_new(config, NULL, &rules, &err);
    weir_rules_free(rules);
    if (status == WEIR_OK) status = weir_policy_load(config->sampling.policy, names, &policy, &err);
    if (status == WEIR_OK) status = weir_policy_load_shadow(config->sampling.shadow, names, &shadow, &err);
    if (status == WEIR_OK) status = weir_policy_load_canary(config->sampling.canary_policy, names, &canary, &err);
    if (status != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
    } else {
        uint32_t lanes = config->lanes != 0 ? config->lanes : weir_cpu_limit("/sys/fs/cgroup", "/proc/self/cgroup");
        printf("%s: ok\n", *path != 0 ? path : "no file: the defaults");
        printf("  %-10s %u\n", "lanes", lanes);
        for (const struct weir_listen_option *one = weir_listen_options; one->section != NULL; one++) {
            const char *dot = strchr(one->section, '.');
            print_listen(dot == NULL ? one->section : dot + 1,
                         (const struct weir_listen *)(const void *)((const char *)config + one->offset));
        }
        if (config->exporter_count == 0) printf("  %-10s none: spans are counted and not stored\n", "exporters");
        for (uint32_t i = 0; i < config->exporter_count; i++)
            printf("  %-10s %s\n", i == 0 ? "exporters" : "", config->exporters[i].name);
        print_spool(config);
        print_policy("sampling", config->sampling.policy, policy);
        if (weir_policy_proxies(policy) != NULL) print_proxies(weir_policy_proxies(policy), names);
        print_renders(config, policy);
        if (shadow != NULL) print_policy("shadow", config->sampling.shadow, shadow);
        if (canary != NULL)
            printf("  %-10s %s, for %.4g %% of the proxies\n", "canary", config->sampling.canary_policy,
                   100 * config->sampling.canary_share);
        weir_policy_remarks(policy, receivers_on(config), warn, config->sampling.policy);
        if (shadow != NULL) weir_policy_remarks(shadow, receivers_on(config), warn, config->sampling.shadow);
        if (shadow != NULL) warn_of_shadow(shadow, config->sampling.shadow);
        if (canary != NULL) weir_policy_remarks(canary, receivers_on(config), warn, config->sampling.canary_policy);
        warn_of_nobody(config, policy);
        const struct weir_keep *keep = weir_policy_keep_part(policy);
        print_bytes(weir_config_memory(config, lanes) + (keep != NULL ? keep->memory_bytes : 0), "all bounds together");
    }
    weir_policy_unref(policy);
    weir_policy_unref(shadow);
    weir_policy_unref(canary);
    weir_config_free(config);
    weir_names_free(names);
    return status == WEIR_OK ? 0 : 1;
}
