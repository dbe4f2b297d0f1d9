#define _GNU_SOURCE /* memmem */
#include "collector/decode/access_log.h"
#include "collector/core/clock.h"
#include "collector/core/ledger.h"
#include "collector/decode/key.h"
#include "collector/decode/number.h"
#include "collector/decode/span_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 8192 };

/* The keys of a line. */
enum field {
    AGENT,
    CLIENT,
    COUNT,
    END,
    EOL,
    HOST,
    METHOD,
    PARENT,
    PATH,
    PROTO,
    RATE,
    RECEIVED,
    SENT,
    SERVICE,
    SPAN,
    START,
    STATE,
    STATUS,
    TLS,
    TOOK,
    TOOK_MS,
    TRACE,
    UPSTREAM,
    UPSTREAM_STATUS,
    UPSTREAM_TOOK,
    FIELDS
};
static const char *const field_names[FIELDS] = {
    [AGENT] = "agent",
    [CLIENT] = "client",
    [COUNT] = "count",
    [END] = "end",
    [EOL] = "eol",
    [HOST] = "host",
    [METHOD] = "method",
    [PARENT] = "parent",
    [PATH] = "path",
    [PROTO] = "proto",
    [RATE] = "rate",
    [RECEIVED] = "received",
    [SENT] = "sent",
    [SERVICE] = "service",
    [SPAN] = "span",
    [START] = "start",
    [STATE] = "state",
    [STATUS] = "status",
    [TLS] = "tls",
    [TOOK] = "took",
    [TOOK_MS] = "took_ms",
    [TRACE] = "trace",
    [UPSTREAM] = "upstream",
    [UPSTREAM_STATUS] = "upstream_status",
    [UPSTREAM_TOOK] = "upstream_took",
};

struct text {
    const char *bytes;
    size_t size; /* 0: not said, or `-` */
};
struct weir_access_log {
    struct weir_otlp *otlp;
    struct weir_names *names;
    struct weir_key *key;
    char plain[LINE_BYTES_MAX]; /* values without their escapes */
};
struct line {
    struct text fields[FIELDS];
    enum field last;
    double end_s, took_s;
    uint64_t trace_hi, trace_lo, span, parent;
    uint32_t status;
    double rate; /* 0 = not said */
};

struct weir_access_log *weir_access_log_new(struct weir_otlp *otlp, struct weir_names *names,
                                            uint32_t label_value_bytes_max) {
    struct weir_access_log *log = calloc(1, sizeof *log);
    if (log == NULL) return NULL;
    log->otlp = otlp;
    log->names = names;
    log->key = weir_key_new(label_value_bytes_max);
    if (log->key == NULL) {
        free(log);
        return NULL;
    }
    return log;
}

void weir_access_log_free(struct weir_access_log *log) {
    if (log == NULL) return;
    weir_key_free(log->key);
    free(log);
}

/* ---- key=value ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies a value to `out` without its escapes: \xHH (NGINX), \" \\ and \] (HAProxy, +E). Returns the end. */
static char *unescape(const char *at, const char *end, char *out) {
    while (at < end) {
        if (*at == '\\' && end - at >= 4 && at[1] == 'x' && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
            *out++ = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
            at += 4;
        } else if (*at == '\\' && end - at >= 2 && (at[1] == '"' || at[1] == '\\' || at[1] == ']')) {
            *out++ = at[1];
            at += 2;
        } else {
            *out++ = *at++;
        }
    }
    return out;
}

static enum field field_of(const char *key, size_t size) {
    for (enum field field = 0; field < FIELDS; field++) {
        if (strlen(field_names[field]) == size && memcmp(field_names[field], key, size) == 0) return field;
    }
    return FIELDS; /* of a later version: skipped */
}

static void read_fields(struct weir_access_log *log, const char *at, const char *end, struct line *line) {
    char *plain = log->plain;
    line->last = FIELDS;
    while (at < end) {
        while (at < end && *at == ' ')
            at++;
        const char *key = at;
        while (at < end && *at != '=' && *at != ' ')
            at++;
        if (at == end || *at != '=') continue; /* no pair */
        enum field field = field_of(key, (size_t)(at - key));
        const char *value = ++at;
        char stop = ' ';
        if (at < end && *at == '"') {
            stop = '"';
            value = ++at;
        }
        while (at < end && *at != stop)
            at += *at == '\\' && stop == '"' && end - at > 1 ? 2 : 1;
        const char *value_end = at;
        if (at < end) at++;
        line->last = field;
        if (field == FIELDS || (value_end - value == 1 && *value == '-')) continue;
        char *plain_end = unescape(value, value_end, plain);
        line->fields[field] = (struct text){plain, (size_t)(plain_end - plain)};
        plain = plain_end;
    }
}

/* ---- values ---- */

static bool number(struct text text, double *value) {
    if (text.size == 0) return false;
    const uint8_t *end = (const uint8_t *)text.bytes + text.size;
    return weir_number_read((const uint8_t *)text.bytes, end, value) == end;
}

static bool id(struct text text, size_t least, size_t most, uint64_t *high, uint64_t *low) {
    if (text.size != least && text.size != most) return false;
    *high = *low = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = hex_digit(text.bytes[i]);
        if (digit < 0) return false;
        *high = *high << 4 | *low >> 60;
        *low = *low << 4 | (uint64_t)digit;
    }
    return (*high | *low) != 0;
}

static enum weir_status refuse(enum weir_access_log_refusal reason, enum weir_access_log_refusal *why,
                               struct weir_error *err, const char *text) {
    *why = reason;
    return weir_fail(err, WEIR_INVALID, 0, false, "%s", text);
}

/* Milliseconds are what proxies log. */
static uint64_t to_ns(double seconds) {
    return seconds > 0 && seconds < 1e10 ? (uint64_t)llround(seconds * 1000) * WEIR_MS : 0;
}

static bool is_one(struct text text) {
    return text.size == 1 && text.bytes[0] == '1';
}

static enum weir_status read_line(struct line *line, enum weir_access_log_refusal *why, struct weir_error *err) {
    struct text *fields = line->fields;
    double status = 0, start_s = 0;
    uint64_t none;
    if (fields[SERVICE].size == 0) return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "service is missing");
    if (!number(fields[STATUS], &status) || status < 0 || status > 999 || status != floor(status))
        return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "status is no HTTP status");
    line->status = (uint32_t)status;
    bool took = number(fields[TOOK], &line->took_s);
    if (!took && (took = number(fields[TOOK_MS], &line->took_s))) line->took_s /= 1000;
    if (!took || line->took_s < 0) return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "took is no time");
    if (fields[TRACE].size == 0 && fields[SPAN].size == 0) {
        if (is_one(fields[COUNT])) return WEIR_OK;
        return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "neither ids nor count=1");
    }
    if (number(fields[START], &start_s)) {
        line->end_s = start_s + line->took_s;
    } else if (!number(fields[END], &line->end_s)) {
        return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "end is no time");
    }
    if (to_ns(line->end_s) <= to_ns(line->took_s))
        return refuse(WEIR_ACCESS_LOG_MALFORMED, why, err, "end is no time since 1970");
    if (!id(fields[TRACE], 16, 32, &line->trace_hi, &line->trace_lo))
        return refuse(WEIR_ACCESS_LOG_BAD_ID, why, err, "trace is not 32 or 16 hex digits");
    if (!id(fields[SPAN], 16, 16, &none, &line->span))
        return refuse(WEIR_ACCESS_LOG_BAD_ID, why, err, "span is not 16 hex digits");
    if (fields[PARENT].size > 0 && !id(fields[PARENT], 16, 16, &none, &line->parent))
        return refuse(WEIR_ACCESS_LOG_BAD_ID, why, err, "parent is not 16 hex digits");
    if (fields[RATE].size > 0 && (!number(fields[RATE], &line->rate) || !(line->rate > 0 && line->rate <= 1)))
        return refuse(WEIR_ACCESS_LOG_BAD_RATE, why, err, "rate is not above 0 and up to 1");
    return WEIR_OK;
}

/* ---- what it becomes ---- */

#define KEY(literal) literal, sizeof(literal) - 1

static void put_text(struct weir_span_writer *writer, const char *key, struct text value) {
    if (value.size > 0) weir_span_text(writer, key, strlen(key), value.bytes, value.size);
}

static void put_number(struct weir_span_writer *writer, const char *key, struct text value) {
    double n;
    if (number(value, &n) && fabs(n) < 1e15) weir_span_int(writer, key, strlen(key), (int64_t)n);
}

/* The parts of NGINX's lists: ", " between the servers tried, " : " where a group was left for another
 * (ngx_http_upstream_module, $upstream_addr). */
static struct text next_part(struct text *list) {
    const char *at = list->bytes;
    size_t size = 0, skip = 0;
    while (size < list->size) {
        size_t left = list->size - size;
        if (left >= 2 && memcmp(at + size, ", ", 2) == 0) skip = 2;
        if (left >= 3 && memcmp(at + size, " : ", 3) == 0) skip = 3;
        if (skip > 0) break;
        size++;
    }
    struct text part = {at, size};
    list->bytes = list->size > 0 ? at + size + skip : at;
    list->size -= size + skip;
    return part;
}

static int shown(struct text text, size_t most) {
    return (int)(text.size < most ? text.size : most);
}

static const char *bytes_of(struct text text) {
    return text.size > 0 ? text.bytes : "";
}

/* One event for each server that was tried, where it was not one alone. */
static void put_upstreams(struct weir_span_writer *writer, const struct line *line, uint64_t end_ns) {
    struct text servers = line->fields[UPSTREAM], statuses = line->fields[UPSTREAM_STATUS],
                times = line->fields[UPSTREAM_TOOK];
    put_text(writer, "upstream.address", servers);
    put_text(writer, "upstream.status", statuses);
    put_text(writer, "upstream.response_time", times);
    struct text rest = servers;
    next_part(&rest);
    if (rest.size == 0) return;
    while (servers.size > 0) {
        struct text server = next_part(&servers), status = next_part(&statuses), took = next_part(&times);
        char name[192];
        int size = snprintf(name, sizeof name, "upstream %.*s: status %.*s in %.*s s", shown(server, 100),
                            bytes_of(server), shown(status, 8), bytes_of(status), shown(took, 16), bytes_of(took));
        weir_span_event(writer, end_ns, name, (size_t)size);
    }
}

static enum weir_status put_span(struct weir_access_log *log, const struct line *line, struct weir_batch *batch,
                                 enum weir_access_log_refusal *why, struct weir_error *err) {
    const struct text *fields = line->fields;
    struct weir_span_writer writer;
    struct weir_otlp_counts counts = {0};
    char name[512];
    uint16_t origin;
    uint64_t end_ns = to_ns(line->end_s);
    struct text path = fields[PATH], version = fields[PROTO];
    const char *query = path.size > 0 ? memchr(path.bytes, '?', path.size) : NULL;
    if (query != NULL) path.size = (size_t)(query - path.bytes);
    if (version.size > 5 && memcmp(version.bytes, "HTTP/", 5) == 0) {
        version.bytes += 5;
        version.size -= 5;
    }
    int size = snprintf(name, sizeof name, "%.*s %.*s", shown(fields[METHOD], 31), bytes_of(fields[METHOD]),
                        shown(path, 400), bytes_of(path));
    weir_span_begin(&writer, batch);
    weir_span_ids(&writer, line->trace_hi, line->trace_lo, line->span, line->parent);
    weir_span_kind(&writer, WEIR_KIND_SERVER);
    weir_span_name(&writer, name, (size_t)size);
    weir_span_times(&writer, end_ns - to_ns(line->took_s), end_ns);
    put_text(&writer, "http.request.method", fields[METHOD]);
    put_text(&writer, "url.path", path);
    weir_span_int(&writer, KEY("http.response.status_code"), line->status);
    put_text(&writer, "server.address", fields[HOST]);
    put_text(&writer, "client.address", fields[CLIENT]);
    put_text(&writer, "network.protocol.version", version);
    put_number(&writer, "http.response.size", fields[SENT]);
    put_number(&writer, "http.request.size", fields[RECEIVED]);
    put_text(&writer, "user_agent.original", fields[AGENT]);
    put_text(&writer, "tls.protocol.version", fields[TLS]);
    if (fields[STATE].size > 0) weir_span_tracestate(&writer, fields[STATE].bytes, fields[STATE].size);
    if (line->rate > 0) weir_span_double(&writer, KEY("weir.prior_weight"), 1 / line->rate);
    if (fields[UPSTREAM].size > 0) put_upstreams(&writer, line, end_ns);
    if (line->status >= 500) weir_span_status(&writer, WEIR_STATUS_ERROR, NULL, 0);
    if (weir_span_service(log->otlp, batch, fields[SERVICE].bytes, fields[SERVICE].size, &origin) != WEIR_OK) {
        weir_span_cancel(&writer);
        return weir_fail(err, WEIR_FULL, 0, true, "no memory for the spans of the round");
    }
    enum weir_status status = weir_span_end(&writer, log->otlp, origin, WEIR_RECEIVER_ACCESS_LOG, &counts, err);
    if (status == WEIR_INVALID) *why = WEIR_ACCESS_LOG_BAD_ID;
    return status;
}

/* OpenTelemetry semantic conventions, http.request.method: what is none of these is _OTHER, so that nobody makes series
 * by inventing methods. */
static struct text known_method(struct text method) {
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i]) == method.size && memcmp(known[i], method.bytes, method.size) == 0) return method;
    }
    return (struct text){"_OTHER", 6};
}

static void give_point(struct weir_access_log *log, const struct line *line, const char *name,
                       enum weir_point_kind kind, double value, const struct weir_access_log_calls *calls) {
    char status[12];
    struct text method = known_method(line->fields[METHOD]), service = line->fields[SERVICE];
    struct weir_point point = {.kind = (uint8_t)kind, .value = value, .weight = 1};
    int status_size = snprintf(status, sizeof status, "%u", line->status);
    if (!weir_key_name(log->key, name, strlen(name)) ||
        !weir_key_label(log->key, KEY("service"), service.bytes, service.size) ||
        !weir_key_label(log->key, KEY("method"), method.bytes, method.size) ||
        !weir_key_label(log->key, KEY("status"), status, (size_t)status_size))
        return;
    point.key = weir_key_done(log->key, &point.key_size);
    point.hash = weir_names_hash(log->names, point.key, point.key_size);
    calls->point(calls->self, &point);
}

enum weir_status weir_access_log_decode(struct weir_access_log *log, const uint8_t *bytes, size_t size,
                                        struct weir_batch *batch, const struct weir_access_log_calls *calls,
                                        enum weir_access_log_refusal *why, struct weir_error *err) {
    struct line line = {.last = FIELDS};
    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == 0 || bytes[size - 1] == ' '))
        size--;
    const char *at = (const char *)bytes;
    if (size > LINE_BYTES_MAX) return refuse(WEIR_ACCESS_LOG_TRUNCATED, why, err, "longer than 8 KiB");
    const char *start = size == 0 ? NULL : memmem(at, size, "weir=1 ", 7);
    if (start == NULL || (start > at && start[-1] != ' '))
        return refuse(WEIR_ACCESS_LOG_NOT_OURS, why, err, "no weir=1 in it");
    read_fields(log, start + 7, at + size, &line);
    if (line.last != EOL || !is_one(line.fields[EOL]))
        return refuse(WEIR_ACCESS_LOG_TRUNCATED, why, err, "does not end with eol=1");
    enum weir_status status = read_line(&line, why, err);
    if (status != WEIR_OK) return status;
    if (line.fields[TRACE].size > 0 || line.fields[SPAN].size > 0) status = put_span(log, &line, batch, why, err);
    if (status != WEIR_INVALID && is_one(line.fields[COUNT])) {
        give_point(log, &line, "http_server_requests", WEIR_POINT_COUNT, 1, calls);
        give_point(log, &line, "http_server_request_duration_seconds", WEIR_POINT_TIMER, line.took_s, calls);
    }
    return status;
}
