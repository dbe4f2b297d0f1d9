/* docs/configuration.md from the table of options; a test fails when the page in the tree is another. */
#include "collector/config/load.h"
#include "collector/config/options.h"
#include "collector/config/values.h"

#include <string.h>

struct group {
    const char *title;
    enum weir_option_scope scope;
    const char *prefix; /* of its keys; "" = those without a dot */
    const char *note;
};

static const struct group groups[] = {
    {"General", WEIR_SCOPE_TOP, "", NULL},
    {"log", WEIR_SCOPE_TOP, "log.", NULL},
    {"memory", WEIR_SCOPE_TOP, "memory.",
     "All bounds of a file are added up: `memory.intake`, each exporter's `memory_bytes`, `batch.max_bytes` a lane, "
     "about 430 bytes a\n"
     "series a lane, 96 an edge a lane and 128 a name. More than the memory limit of the process's cgroup (else of the "
     "machine) is an error.\n"
     "`memory.intake` and `memory_bytes` that a file does not give are first halved, down to 4MiB, until it all fits."},
    {"receivers.grpc", WEIR_SCOPE_TOP, "receivers.grpc.", NULL},
    {"receivers.otlp_http", WEIR_SCOPE_TOP, "receivers.otlp_http.", NULL},
    {"receivers.zipkin", WEIR_SCOPE_TOP, "receivers.zipkin.", NULL},
    {"receivers.sampling", WEIR_SCOPE_TOP, "receivers.sampling.", NULL},
    {"receivers.scribe", WEIR_SCOPE_TOP, "receivers.scribe.", NULL},
    {"receivers.datagram", WEIR_SCOPE_TOP, "receivers.datagram.", NULL},
    {"receivers.access_log", WEIR_SCOPE_TOP, "receivers.access_log.", NULL},
    {"receivers.statsd", WEIR_SCOPE_TOP, "receivers.statsd.", NULL},
    {"batch", WEIR_SCOPE_TOP, "batch.", NULL},
    {"aggregate", WEIR_SCOPE_TOP, "aggregate.", NULL},
    {"sampling", WEIR_SCOPE_TOP, "sampling.", NULL},
    {"spool", WEIR_SCOPE_TOP, "spool.",
     "What is on disk for the sake of spans that are not delivered (docs/spool.md): below the directory a spool for "
     "each "
     "exporter, in\n"
     "`exporters/NAME`, and with `durable: true` a journal, in `journal`. What is in a journal at a restart may take "
     "128MiB of memory for\n"
     "decisions while it is read."},
    {"admin", WEIR_SCOPE_TOP, "admin.", NULL},
    {"Every exporter", WEIR_SCOPE_EXPORTER, "", "What waits in front of a back end, and how it is tried again."},
    {"exporters.file", WEIR_SCOPE_FILE, "", "Files of OTLP in zstd frames; `weir cat` reads them."},
    {"exporters.zipkin", WEIR_SCOPE_ZIPKIN, "", "Zipkin v2 over HTTP."},
    {"exporters.kafka", WEIR_SCOPE_KAFKA, "", "Messages into a topic of Kafka (exporters/kafka/README.md)."},
    {"exporters.otlp", WEIR_SCOPE_OTLP, "", "OTLP over gRPC and HTTP (exporters/otlp/README.md)."},
};

static const char intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Made from the table in collector/config/options.c; do not edit. -->\n"
    "\n"
    "`weir run -c weir.yaml` reads one YAML file; `weir check -c weir.yaml` says whether it would, and else "
    "`file:line: reason`. No file\n"
    "at all runs with the defaults below. `examples/weir.yaml` is a commented file to start from.\n"
    "\n"
    "```yaml\n"
    "receivers:                      # only those listed run; without this section all of them do\n"
    "  grpc:   { listen: 0.0.0.0:4317 }\n"
    "  statsd: { listen: 0.0.0.0:8125, source_label: ip }\n"
    "sampling: { policy: sampling.yaml }\n"
    "spool:    { directory: /var/lib/weir, max_bytes: 10GiB, durable: true }\n"
    "exporters:                      # `type` or `type/name`; without this section, one file exporter\n"
    "  zipkin: { url: \"http://${env:ZIPKIN_HOST:-zipkin}:9411/api/v2/spans\", headers_file: "
    "/run/secrets/zipkin-headers }\n"
    "  file/archive: { directory: /var/lib/weir/traces, max_total_bytes: 20GiB }\n"
    "admin: { listen: 0.0.0.0:9646 }\n"
    "```\n"
    "\n"
    "- **Sizes** are `1500` (bytes), `64KiB`, `10MiB`, `1.5GiB`, or powers of 1000 as `5MB`. **Durations** need a "
    "unit: `750ms`, `10s`, `1h30m`.\n"
    "- **Addresses** are `host:port`, `[::1]:4317`, `:4317` or `off`; between braces YAML wants what begins with a\n"
    "  bracket or a colon in quotes. `:4317`, as every default, is on 127.0.0.1; the environment variable "
    "`WEIR_LISTEN_HOST` changes that host\n"
    "  for all of them (`0.0.0.0` in a container). A port that the file asks for and that is taken is fatal; a default "
    "one leaves that\n"
    "  receiver off, with a warning; where no receiver is left the process ends.\n"
    "- **Receivers**: `grpc:` alone runs it with its defaults, `grpc: off` does not run it, `receivers: {}` runs "
    "none.\n"
    "- **Exporters**: at most 16. The key is the label `exporter` on /metrics. `exporters: {}` stores nothing; series "
    "are still made.\n"
    "- **Variables**: `${env:NAME}` anywhere in a value is replaced, `${env:NAME:-default}` also when it is unset or "
    "empty; an unset one\n"
    "  without a default is an error. `$${` is a literal `${`. They are replaced after the YAML is read, so they "
    "cannot bring syntax.\n"
    "- **Secrets** (`headers`, `url`) are never shown in errors or logs.\n"
    "- **Paths** are relative to this file, save `directory`, which is relative to the working directory.\n"
    "- YAML anchors' aliases, merge keys, tags and second documents are not supported.\n"
    "- **live**: a reload (SIGHUP, `POST /-/reload`) changes it; what it cannot change is named in its answer, and "
    "needs a **restart**.\n"
    "  So do exporters that come or go.\n";

static const char lists[] =
    "\n## attributes, operations, success, exclude\n\n"
    "Lists of maps, at most 32 entries each; all of them live. docs/attributes.md says what they do.\n\n"
    "| list | keys of an entry |\n|---|---|\n"
    "| `attributes` | `keys` (a list), `action` (`drop`, `keep`, `hash`, `replace`, `strip_query`, "
    "`mask_card_numbers`), `name` "
    "(its label on /metrics), `pattern` and `replacement` (of `replace`), `key_file` (of `hash`) |\n"
    "| `operations` | `match`, `name` |\n"
    "| `success` | `service`, `operation`, `http_status` (`404`, `200-499`), `grpc_codes` (a list of names), "
    "`attribute: { key, "
    "equals }`; and `success` (`true`, `false`) |\n"
    "| `exclude` | the same without `success` |\n"
    "\n## render\n\n"
    "A list of maps, at most 32, live: files for proxies that only read files, kept as the policy in force says "
    "(docs/policy.md, Files).\n\n"
    "| key | default | |\n|---|---|---|\n"
    "| `for` | needed | `nginx`, `nginx-otel`, `linkerd1`, `envoy`, `otel-env` |\n"
    "| `path` | needed | The file; its folder has to be there. |\n"
    "| `service` | none | Whose rates; without it, those of `default`. |\n"
    "| `incoming` | `honour` | Of `nginx`: `ignore` where callers are strangers, who must not decide what is traced. "
    "|\n"
    "| `command` | none | Run by /bin/sh when the file is another, such as `nginx -s reload`; again, ever more seldom, "
    "while it fails. |\n"
    "| `timeout` | `10s` | A command that runs longer is killed, with all that it started. |\n"
    "| `min_interval` | `10s` | Between two writes; of several plans in it the last is written. |\n";

static void put_default(const struct weir_option *option, FILE *out) {
    if (option->type == WEIR_OPTION_LISTEN)
        fprintf(out, "`127.0.0.1%s`", option->fallback);
    else if (*option->fallback == 0)
        fputs("none", out);
    else
        fprintf(out, "`%s`", option->fallback);
}

static bool in_group(const struct weir_option *option, const struct group *group) {
    if (option->scope != group->scope) return false;
    if (*group->prefix == 0) return strchr(option->key, '.') == NULL;
    return strncmp(option->key, group->prefix, strlen(group->prefix)) == 0;
}

void weir_config_write_reference(FILE *out) {
    fputs(intro, out);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const struct group *group = &groups[i];
        fprintf(out, "\n## %s\n\n", group->title);
        if (group->note != NULL) fprintf(out, "%s\n\n", group->note);
        fputs("| key | default | allowed | change | |\n|---|---|---|---|---|\n", out);
        for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
            if (!in_group(option, group)) continue;
            char allowed[96];
            weir_option_allowed(option, allowed, sizeof allowed);
            if (option->type == WEIR_OPTION_BOOL) snprintf(allowed, sizeof allowed, "true, false");
            fprintf(out, "| `%s` | ", option->key + strlen(group->prefix));
            put_default(option, out);
            fprintf(out, " | %s | %s | %s |\n", allowed, option->live ? "live" : "restart", option->help);
        }
    }
    fputs(lists, out);
}

void weir_config_print_reference(void) {
    weir_config_write_reference(stdout);
}
