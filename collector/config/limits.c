#define _GNU_SOURCE
#include "collector/config/limits.h"

#include "collector/config/values.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A lane's decisions that are not written yet and its receipts; and, at the start, the largest record of the log. */
enum { JOURNAL_LANE_BYTES = 4 << 20, JOURNAL_BYTES = 16 << 20 };
/* Of an exporter's spool: zstd's two contexts, what a batch is packed in, the window that it is read through. */
enum { SPOOL_BYTES = 8 << 20, SEGMENT_BYTES_LEAST = 1 << 20 };
/* What one entry takes, as an upper estimate: a series with its key, its cell and its share of the table; a waiting
 * edge; a name with its text and slots; a sender of datagrams. A histogram's cell also has 8 bytes a bucket. */
enum { SERIES_BYTES = 320, BUCKET_BYTES = 8, EDGE_BYTES = 96, NAME_BYTES = 128, SENDER_BYTES = 128 };
enum { TERMS_MAX = 3 * WEIR_EXPORTERS_MAX + 9, FIT_FLOOR_BYTES = 4 << 20 };

/* Messages are read into memory.intake, so none may be larger. */
static const struct message_bound {
    const char *key;
    uint32_t listen, bytes; /* offsets in struct weir_config */
} message_bounds[] = {
#define BOUND(receiver, field)                                                                                         \
    {                                                                                                                  \
        "receivers." #receiver "." #field, offsetof(struct weir_config, receiver.listen),                              \
            offsetof(struct weir_config, receiver.field)                                                               \
    }
    BOUND(grpc, max_message_bytes),
    BOUND(otlp_http, max_body_bytes),
    BOUND(zipkin, max_body_bytes),
    BOUND(scribe, max_frame_bytes),
};
enum { MESSAGE_BOUNDS = sizeof message_bounds / sizeof message_bounds[0] };

static uint64_t *bound_of(struct weir_config *config, const struct message_bound *bound) {
    return (uint64_t *)(void *)((char *)config + bound->bytes);
}

struct term {
    char key[96];
    uint64_t bytes;
    int line;
};

static int line_at(const int *lines, enum weir_option_scope scope, const char *key) {
    if (lines == NULL) return 0;
    for (size_t i = 0; weir_options[i].key != NULL; i++) {
        if (weir_options[i].scope == scope && strcmp(weir_options[i].key, key) == 0) return lines[i];
    }
    return 0;
}

static void add_term(struct term *terms, size_t *count, uint64_t bytes, int line, const char *format,
                     const char *name) {
    struct term *term = &terms[(*count)++];
    term->bytes = bytes;
    term->line = line;
    snprintf(term->key, sizeof term->key, format, name);
}

static size_t sum_terms(const struct weir_config *config, uint32_t lanes, const struct weir_lines *lines,
                        struct term *terms) {
    size_t count = 0;
    const int *top = lines == NULL ? NULL : lines->top;
    const struct weir_aggregate_config *aggregate = &config->aggregate;
    add_term(terms, &count, config->intake_bytes, line_at(top, WEIR_SCOPE_TOP, "memory.intake"), "%s", "memory.intake");
    for (uint32_t i = 0; i < config->exporter_count; i++) {
        const struct weir_exporter_config *exporter = &config->exporters[i];
        const int *own = lines == NULL ? NULL : lines->exporters[i];
        add_term(terms, &count, exporter->memory_bytes, line_at(own, WEIR_SCOPE_EXPORTER, "memory_bytes"),
                 "exporters.%s.memory_bytes", exporter->name);
        if (strcmp(exporter->type, "zipkin") == 0) { /* a body for each batch under way */
            add_term(terms, &count, exporter->max_in_flight * exporter->zipkin.max_body_bytes,
                     line_at(own, WEIR_SCOPE_EXPORTER, "max_in_flight"), "exporters.%s.max_in_flight of max_body_bytes",
                     exporter->name);
        }
        if (strcmp(exporter->type, "otlp") == 0) { /* the bodies of a batch under way are no larger than it */
            uint64_t most = exporter->otlp.max_request_bytes < config->batch.max_bytes
                                ? exporter->otlp.max_request_bytes
                                : config->batch.max_bytes;
            add_term(terms, &count, exporter->max_in_flight * most, line_at(own, WEIR_SCOPE_EXPORTER, "max_in_flight"),
                     "exporters.%s.max_in_flight of its requests", exporter->name);
        }
        if (strcmp(exporter->type, "kafka") == 0) {
            add_term(terms, &count, exporter->kafka.buffer_bytes, line_at(own, WEIR_SCOPE_KAFKA, "buffer_bytes"),
                     "exporters.%s.buffer_bytes", exporter->name);
        }
    }
    if (config->exporter_count > 0) {
        add_term(terms, &count, lanes * config->batch.max_bytes, line_at(top, WEIR_SCOPE_TOP, "batch.max_bytes"), "%s",
                 "batch.max_bytes of all lanes");
    }
    /* Each lane has cells of its own for every series that it counts. */
    uint64_t series_bytes = SERIES_BYTES + (uint64_t)BUCKET_BYTES * aggregate->latency_bucket_count;
    add_term(terms, &count, lanes * aggregate->series_max * series_bytes,
             line_at(top, WEIR_SCOPE_TOP, "aggregate.series_max"), "%s", "aggregate.series_max of all lanes");
    if (aggregate->service_graph) {
        add_term(terms, &count, (uint64_t)lanes * aggregate->edges_max * EDGE_BYTES,
                 line_at(top, WEIR_SCOPE_TOP, "aggregate.edges_max"), "%s", "aggregate.edges_max of all lanes");
    }
    if (config->scribe.listen.on) {
        add_term(terms, &count, lanes * config->scribe.memory_bytes,
                 line_at(top, WEIR_SCOPE_TOP, "receivers.scribe.memory_bytes"), "%s",
                 "receivers.scribe.memory_bytes of all lanes");
    }
    if (config->datagram.listen.on) {
        add_term(terms, &count, (uint64_t)lanes * config->datagram.senders_max * SENDER_BYTES,
                 line_at(top, WEIR_SCOPE_TOP, "receivers.datagram.senders_max"), "%s",
                 "receivers.datagram.senders_max of all lanes");
    }
    for (uint32_t i = 0; i < config->exporter_count && config->spool.directory[0] != 0; i++) {
        if (!config->exporters[i].spool) continue;
        add_term(terms, &count, SPOOL_BYTES, line_at(top, WEIR_SCOPE_TOP, "spool.directory"), "spool of exporters.%s",
                 config->exporters[i].name);
    }
    if (config->spool.durable) {
        add_term(terms, &count, JOURNAL_BYTES + (uint64_t)lanes * JOURNAL_LANE_BYTES, config->spool.line, "%s",
                 "spool.durable");
    }
    add_term(terms, &count, config->names_max * (uint64_t)NAME_BYTES, line_at(top, WEIR_SCOPE_TOP, "memory.names"),
             "%s", "memory.names");
    return count;
}

uint64_t weir_config_spool_share(const struct weir_config *config) {
    uint64_t parts = config->spool.durable ? 1 : 0;
    for (uint32_t i = 0; i < config->exporter_count; i++)
        parts += config->exporters[i].spool ? 1 : 0;
    return config->spool.max_bytes / (parts > 0 ? parts : 1);
}

uint64_t weir_config_memory(const struct weir_config *config, uint32_t lanes) {
    struct term terms[TERMS_MAX];
    size_t count = sum_terms(config, lanes, NULL, terms);
    uint64_t sum = 0; /* 33 terms of at most 1 TiB or 2^32 * 1 KiB: no overflow */
    for (size_t i = 0; i < count; i++)
        sum += terms[i].bytes;
    return sum;
}

static uint64_t *largest_default(struct weir_config *config, const struct weir_lines *lines) {
    uint64_t *largest = NULL;
    if (line_at(lines->top, WEIR_SCOPE_TOP, "memory.intake") == 0) largest = &config->intake_bytes;
    bool waits = config->scribe.listen.on && line_at(lines->top, WEIR_SCOPE_TOP, "receivers.scribe.memory_bytes") == 0;
    if (waits && (largest == NULL || config->scribe.memory_bytes > *largest)) largest = &config->scribe.memory_bytes;
    for (uint32_t i = 0; i < config->exporter_count; i++) {
        uint64_t *bytes = &config->exporters[i].memory_bytes;
        if (line_at(lines->exporters[i], WEIR_SCOPE_EXPORTER, "memory_bytes") == 0 &&
            (largest == NULL || *bytes > *largest))
            largest = bytes;
    }
    return largest;
}

void weir_config_fit(struct weir_config *config, const struct weir_machine *machine, const struct weir_lines *lines) {
    uint32_t lanes = config->lanes == 0 ? machine->lanes : config->lanes;
    while (machine->memory_bytes != 0 && weir_config_memory(config, lanes) > machine->memory_bytes) {
        uint64_t *largest = largest_default(config, lines);
        if (largest == NULL || *largest <= FIT_FLOOR_BYTES) break;
        *largest /= 2;
    }
    if (line_at(lines->top, WEIR_SCOPE_TOP, "spool.segment_bytes") == 0 &&
        config->spool.segment_bytes > weir_config_spool_share(config) / 2)
        config->spool.segment_bytes = weir_config_spool_share(config) / 2;
    for (int i = 0; i < MESSAGE_BOUNDS; i++) {
        uint64_t *bytes = bound_of(config, &message_bounds[i]);
        bool chosen = line_at(lines->top, WEIR_SCOPE_TOP, message_bounds[i].key) != 0;
        if (!chosen && *bytes > config->intake_bytes) *bytes = config->intake_bytes;
    }
}

static int by_size(const void *a, const void *b) {
    const struct term *x = a, *y = b;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* A number for people: two or three digits and a unit. */
static void about(uint64_t bytes, char *out, size_t out_size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(out, out_size, value < 10 && value != (double)(int)value ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static enum weir_status check_memory(const struct weir_config *config, const struct weir_machine *machine,
                                     const struct weir_yaml_doc *doc, const struct weir_lines *lines,
                                     struct weir_error *err) {
    if (machine->memory_bytes == 0) return WEIR_OK;
    struct term terms[TERMS_MAX];
    size_t count = sum_terms(config, config->lanes == 0 ? machine->lanes : config->lanes, lines, terms);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += terms[i].bytes;
    if (sum <= machine->memory_bytes) return WEIR_OK;
    qsort(terms, count, sizeof *terms, by_size);
    char parts[160], total[16], limit[16];
    size_t used = 0;
    int line = 0;
    for (size_t i = 0; i < count && i < 3 && used < sizeof parts; i++) {
        char size[16], where[24] = "";
        about(terms[i].bytes, size, sizeof size);
        if (terms[i].line > 0) snprintf(where, sizeof where, " (line %d)", terms[i].line);
        if (line == 0) line = terms[i].line;
        used += (size_t)snprintf(parts + used, sizeof parts - used, "%s%s %s%s", i == 0 ? "" : ", ", terms[i].key, size,
                                 where);
    }
    about(sum, total, sizeof total);
    about(machine->memory_bytes, limit, sizeof limit);
    return weir_yaml_fail(doc, line == 0 ? 1 : line, err, "all bounds together are %s, %s is %s; the largest: %s",
                          total, machine->memory_what, limit, parts);
}

static enum weir_status check_pair(const struct weir_yaml_doc *doc, int line, int other_line, const char *small_key,
                                   uint64_t small, const char *large_key, uint64_t large,
                                   void (*print)(uint64_t, char *, size_t), struct weir_error *err) {
    if (small <= large) return WEIR_OK;
    char a[32], b[32];
    print(small, a, sizeof a);
    print(large, b, sizeof b);
    if (line == 0) line = other_line == 0 ? 1 : other_line;
    return weir_yaml_fail(doc, line, err, "%s: %s is more than %s, which is %s", small_key, a, large_key, b);
}

static void print_count(uint64_t value, char *out, size_t out_size) {
    snprintf(out, out_size, "%llu", (unsigned long long)value);
}

static enum weir_status check_exporter(const struct weir_config *config, uint32_t index,
                                       const struct weir_yaml_doc *doc, const struct weir_lines *lines,
                                       struct weir_error *err) {
    const struct weir_exporter_config *one = &config->exporters[index];
    const int *own = lines->exporters[index];
    char small[96], large[96];
    snprintf(small, sizeof small, "%s", "batch.max_bytes");
    snprintf(large, sizeof large, "exporters.%s.memory_bytes", one->name);
    enum weir_status status = check_pair(
        doc, line_at(lines->top, WEIR_SCOPE_TOP, "batch.max_bytes"), line_at(own, WEIR_SCOPE_EXPORTER, "memory_bytes"),
        small, config->batch.max_bytes, large, one->memory_bytes, weir_value_print_bytes, err);
    if (status != WEIR_OK) return status;
    snprintf(small, sizeof small, "exporters.%s.retry_initial", one->name);
    status = check_pair(doc, line_at(own, WEIR_SCOPE_EXPORTER, "retry_initial"),
                        line_at(own, WEIR_SCOPE_EXPORTER, "retry_max"), small, one->retry_initial_ns, "retry_max",
                        one->retry_max_ns, weir_value_print_duration, err);
    if (status != WEIR_OK || strcmp(one->type, "file") != 0) return status;
    snprintf(small, sizeof small, "exporters.%s.max_file_bytes", one->name);
    status = check_pair(doc, line_at(own, WEIR_SCOPE_FILE, "max_file_bytes"),
                        line_at(own, WEIR_SCOPE_FILE, "max_total_bytes"), small, one->file.max_file_bytes,
                        "max_total_bytes", one->file.max_total_bytes, weir_value_print_bytes, err);
    for (uint32_t i = 0; status == WEIR_OK && i < index; i++) { /* each would remove the other's files */
        const struct weir_exporter_config *other = &config->exporters[i];
        if (strcmp(other->type, "file") != 0 || strcmp(other->file.directory, one->file.directory) != 0) continue;
        int line = line_at(own, WEIR_SCOPE_FILE, "directory");
        status = weir_yaml_fail(doc, line == 0 ? one->line : line, err,
                                "exporters.%s.directory: is that of exporters.%s too; each needs its own", one->name,
                                other->name);
    }
    return status;
}

/* Whose TLS options: the section, and where its struct weir_tls_config is. */
static const struct tls_section {
    const char *section;
    uint32_t offset;
} tls_sections[] = {
    {"receivers.grpc", offsetof(struct weir_config, grpc.tls)},
    {"receivers.otlp_http", offsetof(struct weir_config, otlp_http.tls)},
    {"receivers.zipkin", offsetof(struct weir_config, zipkin.tls)},
    {"receivers.sampling", offsetof(struct weir_config, sampling_http.tls)},
    {"receivers.scribe", offsetof(struct weir_config, scribe.tls)},
    {"admin", offsetof(struct weir_config, admin.tls)},
};

/* A certificate and its key come together, and authorities with both. */
static enum weir_status check_tls(const struct weir_config *config, const struct tls_section *one,
                                  const struct weir_yaml_doc *doc, const struct weir_lines *lines,
                                  struct weir_error *err) {
    const struct weir_tls_config *tls =
        (const struct weir_tls_config *)(const void *)((const char *)config + one->offset);
    bool cert = tls->cert_file[0] != 0, key = tls->key_file[0] != 0, ca = tls->client_ca_file[0] != 0;
    const char *given = cert ? "cert_file" : key ? "key_file" : "client_ca_file";
    char path[64];
    if (cert == key && (cert || !ca)) return WEIR_OK;
    snprintf(path, sizeof path, "%s.tls.%s", one->section, given);
    int line = line_at(lines->top, WEIR_SCOPE_TOP, path);
    return weir_yaml_fail(doc, line == 0 ? 1 : line, err, "%s: is given, %s is not", path,
                          cert  ? "key_file"
                          : key ? "cert_file"
                                : "cert_file and key_file");
}

static const struct weir_listen *listen_of(const struct weir_config *config, const struct weir_listen_option *option) {
    return (const struct weir_listen *)(const void *)((const char *)config + option->offset);
}

static bool is_any_host(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Two listeners of one file on one port: at the start the second would find it taken, by this very process. */
static enum weir_status check_ports(const struct weir_config *config, const struct weir_yaml_doc *doc,
                                    struct weir_error *err) {
    for (const struct weir_listen_option *b = weir_listen_options; b->section != NULL; b++) {
        const struct weir_listen *second = listen_of(config, b);
        for (const struct weir_listen_option *a = weir_listen_options; a < b; a++) {
            const struct weir_listen *first = listen_of(config, a);
            bool same =
                a->datagram == b->datagram && first->port == second->port &&
                (strcmp(first->host, second->host) == 0 || is_any_host(first->host) || is_any_host(second->host));
            if (!same || !first->on || !second->on || !first->asked || !second->asked) continue;
            int line = second->line > first->line ? second->line : first->line;
            return weir_yaml_fail(doc, line, err, "%s.listen: port %u (%s) is that of %s too", b->section, second->port,
                                  b->datagram ? "UDP" : "TCP", a->section);
        }
    }
    return WEIR_OK;
}

/* A canary is some of the proxies: the others need something to follow too. */
static enum weir_status check_canary(const struct weir_config *config, const struct weir_yaml_doc *doc,
                                     struct weir_error *err) {
    if (config->sampling.canary_policy[0] == 0 || config->sampling.policy[0] != 0) return WEIR_OK;
    return weir_yaml_fail(doc, config->sampling.canary_line, err,
                          "sampling.canary.policy: is given, sampling.policy is not, which the other proxies follow");
}

/* What is on disk is asked for, and where; a log has two segments at least. */
static enum weir_status check_spool(const struct weir_config *config, const struct weir_yaml_doc *doc,
                                    const struct weir_lines *lines, struct weir_error *err) {
    if (config->spool.durable && config->spool.directory[0] == 0) {
        return weir_yaml_fail(doc, config->spool.line, err,
                              "spool.durable: is true, spool.directory is not given: there is no disk to write to");
    }
    for (uint32_t i = 0; i < config->exporter_count && config->spool.directory[0] == 0; i++) {
        int asked = line_at(lines->exporters[i], WEIR_SCOPE_EXPORTER, "spool");
        if (asked == 0 || !config->exporters[i].spool) continue;
        return weir_yaml_fail(doc, asked, err, "exporters.%s.spool: is true, spool.directory is not given",
                              config->exporters[i].name);
    }
    uint64_t share = weir_config_spool_share(config);
    int line = line_at(lines->top, WEIR_SCOPE_TOP, "spool.segment_bytes");
    bool enough = config->spool.segment_bytes >= SEGMENT_BYTES_LEAST;
    if (config->spool.directory[0] == 0 || (enough && config->spool.segment_bytes <= share / 2)) return WEIR_OK;
    if (line == 0 || !enough) line = line_at(lines->top, WEIR_SCOPE_TOP, "spool.max_bytes");
    char small[16], large[16];
    about(enough ? config->spool.segment_bytes : SEGMENT_BYTES_LEAST, small, sizeof small);
    about(share, large, sizeof large);
    return weir_yaml_fail(doc, line == 0 ? 1 : line, err,
                          "spool.segment_bytes: %s is more than half of a share of spool.max_bytes, which is %s", small,
                          large);
}

enum weir_status weir_config_check(const struct weir_config *config, const struct weir_machine *machine,
                                   const struct weir_yaml_doc *doc, const struct weir_lines *lines,
                                   struct weir_error *err) {
    enum weir_status status = WEIR_OK;
    for (int i = 0; i < MESSAGE_BOUNDS && status == WEIR_OK; i++) {
        const char *key = message_bounds[i].key, *base = (const char *)config;
        if (!((const struct weir_listen *)(const void *)(base + message_bounds[i].listen))->on) continue;
        status = check_pair(doc, line_at(lines->top, WEIR_SCOPE_TOP, key),
                            line_at(lines->top, WEIR_SCOPE_TOP, "memory.intake"), key,
                            *(const uint64_t *)(const void *)(base + message_bounds[i].bytes), "memory.intake",
                            config->intake_bytes, weir_value_print_bytes, err);
    }
    if (status == WEIR_OK) {
        status = check_pair(doc, line_at(lines->top, WEIR_SCOPE_TOP, "aggregate.series_per_metric_max"),
                            line_at(lines->top, WEIR_SCOPE_TOP, "aggregate.series_max"),
                            "aggregate.series_per_metric_max", config->aggregate.series_per_metric_max,
                            "aggregate.series_max", config->aggregate.series_max, print_count, err);
    }
    if (status == WEIR_OK) status = check_ports(config, doc, err);
    if (status == WEIR_OK) status = check_canary(config, doc, err);
    if (status == WEIR_OK) status = check_spool(config, doc, lines, err);
    for (size_t i = 0; status == WEIR_OK && i < sizeof tls_sections / sizeof tls_sections[0]; i++)
        status = check_tls(config, &tls_sections[i], doc, lines, err);
    for (uint32_t i = 0; status == WEIR_OK && i < config->exporter_count; i++)
        status = check_exporter(config, i, doc, lines, err);
    return status == WEIR_OK ? check_memory(config, machine, doc, lines, err) : status;
}

/* ---- the machine ---- */

/* The group's path of one controller, from lines `0::/path` (v2) or `4:cpu,cpuacct:/path` (v1). */
static bool own_group(const char *membership, const char *controller, char *path, size_t path_size) {
    FILE *file = fopen(membership, "re");
    if (file == NULL) return false;
    char line[1024];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *group = list == NULL ? NULL : strchr(list + 1, ':');
        if (group == NULL) continue;
        *group++ = 0;
        list++;
        if (controller == NULL) {
            found = *list == 0;
        } else {
            char *rest = NULL;
            for (char *one = strtok_r(list, ",", &rest); one != NULL && !found; one = strtok_r(NULL, ",", &rest))
                found = strcmp(one, controller) == 0;
        }
        if (found) found = (size_t)snprintf(path, path_size, "%s", group) < path_size;
    }
    fclose(file);
    return found;
}

static bool read_line(const char *folder, const char *group, const char *name, char *out, int out_size) {
    char path[2048];
    if ((size_t)snprintf(path, sizeof path, "%s%s/%s", folder, group, name) >= sizeof path) return false;
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool got = fgets(out, out_size, file) != NULL;
    fclose(file);
    return got;
}

/* Calls `look` for the group and each above it. Inside a container the path may not be there: the root then is. */
static void climb(const char *folder, char *group, void (*look)(const char *folder, const char *group, void *self),
                  void *self) {
    for (;;) {
        if (strcmp(group, "/") == 0) *group = 0;
        look(folder, group, self);
        char *slash = strrchr(group, '/');
        if (slash == NULL) return;
        *slash = 0;
    }
}

static void look_memory(const char *folder, const char *group, void *self) {
    uint64_t *lowest = self;
    char text[64], *end;
    if (!read_line(folder, group, "memory.max", text, sizeof text) &&
        !read_line(folder, group, "memory.limit_in_bytes", text, sizeof text))
        return;
    unsigned long long bytes = strtoull(text, &end, 10); /* "max" has no digits */
    if (end != text && (*lowest == 0 || bytes < *lowest)) *lowest = bytes;
}

uint64_t weir_memory_limit(const char *root, const char *membership, const char **what) {
    char group[1024], folder[1024];
    uint64_t lowest = 0;
    if (own_group(membership, NULL, group, sizeof group)) climb(root, group, look_memory, &lowest);
    if (own_group(membership, "memory", group, sizeof group)) {
        snprintf(folder, sizeof folder, "%s/memory", root);
        climb(folder, group, look_memory, &lowest);
    }
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t physical = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    /* v1 writes about 2^63 for none */
    bool bounded = lowest != 0 && (physical == 0 ? lowest < INT64_MAX / 2 : lowest < physical);
    *what = bounded ? "the memory limit of the cgroup" : "the memory of this machine";
    return bounded ? lowest : physical;
}

static void look_cpu(const char *folder, const char *group, void *self) {
    double *lowest = self, quota = 0, period = 0;
    char text[64];
    if (read_line(folder, group, "cpu.max", text, sizeof text)) {
        if (sscanf(text, "%lf %lf", &quota, &period) != 2) return;
    } else {
        if (!read_line(folder, group, "cpu.cfs_quota_us", text, sizeof text)) return;
        quota = strtod(text, NULL); /* -1 = none */
        if (!read_line(folder, group, "cpu.cfs_period_us", text, sizeof text)) return;
        period = strtod(text, NULL);
    }
    if (quota > 0 && period > 0 && (*lowest == 0 || quota / period < *lowest)) *lowest = quota / period;
}

uint32_t weir_cpu_limit(const char *root, const char *membership) {
    char group[1024], folder[1024];
    double quota = 0;
    if (own_group(membership, NULL, group, sizeof group)) climb(root, group, look_cpu, &quota);
    if (own_group(membership, "cpu", group, sizeof group)) {
        snprintf(folder, sizeof folder, "%s/cpu", root);
        climb(folder, group, look_cpu, &quota);
    }
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 1) cpus = 1;
    if (quota > 0 && quota < cpus) {
        cpus = (int)quota;
        if (cpus < quota) cpus++;
    }
    return cpus < WEIR_LANES_MAX ? (uint32_t)cpus : WEIR_LANES_MAX;
}
