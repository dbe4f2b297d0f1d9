/* Two words of nginx rule what is written here. In a quoted word of its configuration only \" \' \\ \t \r \n mean
 * something (ngx_conf_read_token), so \x2e comes through to PCRE as it stands. And strings of a `map` are compared
 * without regard to case, regular expressions (~) with it, in their order: so all rows are expressions.
 *
 *   $request_method $weir_path ─ rows ─> $weir_sample_rate ─┐
 *   $weir_trace32 ─ last 14 digits ─> $weir_randomness ─ >= T ─> $weir_own_sampled ─┐
 *   traceparent, B3 ─────────────────────────────────────── $weir_told ──────────────┴─> $weir_sampled,
 * $weir_tracestate
 */
#include "collector/dialects/files_inside.h"
#include "collector/sample/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_DIGITS = 14 /* of the 56 bits of R and T */ };

static const char traces[] =
    "\n"
    "# The trace of a request: that of traceparent, else of B3, else one that begins here.\n"
    "map $http_traceparent $weir_trace {\n"
    "    \"~^(?!ff)[0-9a-f]{2}-(?<weir_tp_trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)\" $weir_tp_trace;\n"
    "    default $weir_b3_trace;\n"
    "}\n"
    "map $http_x_b3_traceid $weir_b3_trace {\n"
    "    \"~^(?<weir_b3_id>[0-9a-f]{32}|[0-9a-f]{16})$\" $weir_b3_id;\n"
    "    default $request_id;\n"
    "}\n"
    "map $http_traceparent $weir_parent {\n"
    "    \"~^(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-(?<weir_tp_parent>[0-9a-f]{16})-[0-9a-f]{2}(?:-|$)\" $weir_tp_parent;\n"
    "    default $weir_b3_parent;\n"
    "}\n"
    "map $http_x_b3_spanid $weir_b3_parent {\n"
    "    \"~^(?<weir_b3_span>[0-9a-f]{16})$\" $weir_b3_span;\n"
    "    default \"-\";\n"
    "}\n"
    "map $request_id $weir_span {\n"
    "    \"~^(?<weir_own>[0-9a-f]{16})\" $weir_own;\n"
    "}\n"
    "map $weir_trace $weir_trace32 {\n"
    "    \"~^[0-9a-f]{32}$\" $weir_trace;\n"
    "    default \"0000000000000000$weir_trace\";\n"
    "}\n"
    "map \"\" $weir_traceparent {\n"
    "    default \"00-$weir_trace32-$weir_span-0$weir_sampled\";\n"
    "}\n";

/* Strangers: whoever picks an id picks whether it is kept. */
static const char own_traces[] = "\n"
                                 "# Each request begins a trace: what came with it counts for nothing.\n"
                                 "map $request_id $weir_trace {\n"
                                 "    default $request_id;\n"
                                 "}\n"
                                 "map $request_id $weir_trace32 {\n"
                                 "    default $request_id;\n"
                                 "}\n"
                                 "map \"\" $weir_parent {\n"
                                 "    default \"-\";\n"
                                 "}\n"
                                 "map $request_id $weir_span {\n"
                                 "    \"~^(?<weir_own>[0-9a-f]{16})\" $weir_own;\n"
                                 "}\n"
                                 "map \"\" $weir_traceparent {\n"
                                 "    default \"00-$weir_trace32-$weir_span-0$weir_sampled\";\n"
                                 "}\n";
static const char own_decisions[] = "\n"
                                    "map \"\" $weir_sampled {\n"
                                    "    default $weir_own_sampled;\n"
                                    "}\n"
                                    "map $weir_sampled $weir_tracestate {\n"
                                    "    1 \"ot=th:$weir_threshold\";\n"
                                    "    default \"\";\n"
                                    "}\n";

static const char decisions[] =
    "\n"
    "# What came with the request is honoured: 1, 0, or nothing.\n"
    "map $http_traceparent $weir_tp_told {\n"
    "    \"~^(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf](?:-|$)\" 1;\n"
    "    \"~^(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)\" 0;\n"
    "    default \"\";\n"
    "}\n"
    "map \"$http_x_b3_flags $http_x_b3_sampled\" $weir_b3_told {\n"
    "    \"~^1 \" 1;\n"
    "    \"~ (?:1|true)$\" 1;\n"
    "    \"~ (?:0|false)$\" 0;\n"
    "    default \"\";\n"
    "}\n"
    "map \"$weir_tp_told$weir_b3_told\" $weir_told {\n"
    "    \"~^1\" 1;\n"
    "    \"~^0\" 0;\n"
    "    default \"\";\n"
    "}\n"
    "map $weir_told $weir_sampled {\n"
    "    1 1;\n"
    "    0 0;\n"
    "    default $weir_own_sampled;\n"
    "}\n"
    "# Where NGINX decided, the threshold goes on with the trace, and with it what each of its spans stands for.\n"
    "map \"$weir_told,$weir_sampled\" $weir_tracestate {\n"
    "    \",1\" \"ot=th:$weir_threshold\";\n"
    "    \",0\" \"\";\n"
    "    default $http_tracestate;\n"
    "}\n";

static const char use[] =
    "# include it in http { }. Where requests are handed on:\n"
    "#     proxy_set_header traceparent $weir_traceparent;\n"
    "#     proxy_set_header tracestate $weir_tracestate;\n"
    "#     proxy_set_header l5d-sample $weir_sampled; # Linkerd 1 behind it: the same decision, not another\n"
    "# and NGINX's own span by its access log, without which its traces have no root: "
    "examples/nginx/weir-policy.conf.\n";
static const char use_otel[] = "# include it in http { }. Where requests are handed on:\n"
                               "#     otel_trace $weir_sampled;\n"
                               "#     otel_trace_context propagate;\n"
                               "#     proxy_set_header tracestate $weir_tracestate;\n"
                               "#     proxy_set_header l5d-sample $weir_sampled; # Linkerd 1 behind it\n";

/* ---- operations as expressions ---- */

/* Templated, as views have it: a row for "GET /users/42" is one for all of them. */
static const char *name_of(const struct weir_file_source *source, const struct weir_plan_rate *row, size_t *size) {
    return weir_names_text(source->names, row->operation != WEIR_NAME_NONE ? row->operation : row->name, size);
}

/* A byte that only means itself, in a quoted word of nginx and in PCRE alike. */
static bool is_plain(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '-' ||
           c == '_' || c == ' ' || c == ':' || c == ',' || c == '@' || c == '=' || c == '~';
}

static void put_literal(const char *text, size_t size, struct weir_buffer *out) {
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (is_plain(c))
            weir_buffer_byte(out, c);
        else
            weir_buffer_printf(out, "\\x%02x", (unsigned)c);
    }
}

/* What core/operation.h takes for an id. */
static const char id_expression[] =
    "(?:[-_.]*[0-9][-_.0-9]*|(?=[-a-fA-F]*[0-9])(?:[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]"
    "{12}))";

enum { SEGMENT_LITERAL, SEGMENT_ID, SEGMENT_ANY, SEGMENTS };

/* {id} is what Weir made of ids; {userId} and :userId are how frameworks write a route. */
static int segment_kind(const char *segment, size_t size) {
    if (size == 4 && memcmp(segment, "{id}", 4) == 0) return SEGMENT_ID;
    if (size > 2 && segment[0] == '{' && segment[size - 1] == '}') return SEGMENT_ANY;
    return size > 1 && segment[0] == ':' ? SEGMENT_ANY : SEGMENT_LITERAL;
}

/* Calls `put` for each segment behind a slash; returns the widest kind of them. */
static int each_segment(const char *path, size_t size, struct weir_buffer *out) {
    int widest = SEGMENT_LITERAL;
    for (const char *at = path, *stop = path + size; at < stop;) {
        const char *end = memchr(at + 1, '/', (size_t)(stop - at - 1));
        if (end == NULL) end = stop;
        int kind = segment_kind(at + 1, (size_t)(end - at - 1));
        if (kind > widest) widest = kind;
        if (out != NULL) {
            weir_buffer_byte(out, '/');
            if (kind == SEGMENT_LITERAL) put_literal(at + 1, (size_t)(end - at - 1), out);
            if (kind == SEGMENT_ID) weir_buffer_text(out, id_expression);
            if (kind == SEGMENT_ANY) weir_buffer_text(out, "[^/]+");
        }
        at = end;
    }
    return widest;
}

struct route {
    const char *method, *path; /* method NULL: any */
    size_t method_size, path_size;
    bool is_grpc; /* pay.Cards/Charge, the path's slash in front is not part of the name */
};

/* "POST /v2/checkout", "/v2/checkout", "pay.Cards/Charge" (OpenTelemetry, "RPC spans": $package.$service/$method).
 * False: nothing that a request line shows. */
static bool route_of(const char *name, size_t size, struct route *route) {
    const char *slash = memchr(name, '/', size);
    *route = (struct route){.path = name, .path_size = size};
    if (slash == NULL) return false;
    if (slash == name) return true;
    const char *space = memchr(name, ' ', size);
    if (space == NULL) {
        route->is_grpc = memchr(slash + 1, '/', size - (size_t)(slash + 1 - name)) == NULL;
        route->method = "POST"; /* gRPC over HTTP/2, "Requests": :method is POST */
        route->method_size = 4;
        return route->is_grpc && slash + 1 < name + size;
    }
    if (space == name || space + 1 != slash) return false;
    *route = (struct route){name, slash, (size_t)(space - name), size - (size_t)(slash - name), false};
    return true;
}

static int width_of(const struct route *route) {
    return route->is_grpc ? SEGMENT_LITERAL : each_segment(route->path, route->path_size, NULL);
}

static void put_route(const struct route *route, double rate, struct weir_buffer *out) {
    weir_buffer_text(out, "    \"~^");
    if (route->method == NULL)
        weir_buffer_text(out, "[^ ]+");
    else
        put_literal(route->method, route->method_size, out);
    weir_buffer_byte(out, ' ');
    if (route->is_grpc) {
        weir_buffer_byte(out, '/');
        put_literal(route->path, route->path_size, out);
    } else {
        each_segment(route->path, route->path_size, out);
    }
    weir_buffer_text(out, "$\" ");
    weir_file_rate(rate, out);
    weir_buffer_text(out, ";\n");
}

static void put_rows(const struct weir_file_source *source, struct weir_buffer *out) {
    const struct weir_plan_service *plan = source->plan;
    struct route route;
    size_t size;
    weir_buffer_text(out, "\n# The rate of a request that begins a trace, by what it asks for; the first that fits.\n"
                          "map $request_uri $weir_path {\n"
                          "    \"~^(?<weir_path_part>[^?#]*)\" $weir_path_part;\n"
                          "}\n"
                          "map \"$request_method $weir_path\" $weir_sample_rate {\n");
    for (int width = SEGMENT_LITERAL; width < SEGMENTS; width++) {
        for (uint32_t i = 0; i < plan->operation_count; i++) {
            const char *name = name_of(source, &plan->operations[i], &size);
            if (route_of(name, size, &route) && width_of(&route) == width)
                put_route(&route, plan->operations[i].rate, out);
        }
    }
    weir_buffer_text(out, "    default ");
    weir_file_rate(plan->rate.rate, out);
    weir_buffer_text(out, ";\n}\n");
    for (uint32_t i = 0; i < plan->operation_count; i++) {
        const char *name = name_of(source, &plan->operations[i], &size);
        if (route_of(name, size, &route)) continue;
        weir_buffer_text(out, "# Not told, since no request line shows it: ");
        weir_file_name(name, size, out);
        weir_buffer_byte(out, '\n');
    }
}

/* ---- rates as thresholds ---- */

static int by_rate(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* Each rate once, in millionths. Returns how many; 0: out of memory. */
static uint32_t rates_of(const struct weir_plan_service *plan, uint32_t **rates) {
    uint32_t count = plan->operation_count + 1, kept = 0;
    *rates = malloc(count * sizeof **rates);
    if (*rates == NULL) return 0;
    (*rates)[0] = (uint32_t)lround(weir_plan_round(plan->rate.rate) * 1e6);
    for (uint32_t i = 1; i < count; i++)
        (*rates)[i] = (uint32_t)lround(weir_plan_round(plan->operations[i - 1].rate) * 1e6);
    qsort(*rates, count, sizeof **rates, by_rate);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || (*rates)[kept - 1] != (*rates)[i]) (*rates)[kept++] = (*rates)[i];
    }
    return kept;
}

/* T without its trailing zeros, as tracestate has it. */
static int threshold_digits(double rate, char out[HEX_DIGITS + 2]) {
    int size = snprintf(out, HEX_DIGITS + 2, "%014llx", (unsigned long long)weir_threshold_of(rate));
    while (size > 1 && out[size - 1] == '0')
        out[--size] = 0;
    return size;
}

static void put_class(char from, struct weir_buffer *out) {
    if (from == 'f')
        weir_buffer_byte(out, 'f');
    else if (from == 'e')
        weir_buffer_text(out, "[ef]");
    else if (from >= 'a')
        weir_buffer_printf(out, "[%c-f]", from);
    else if (from == '9')
        weir_buffer_text(out, "[9a-f]");
    else
        weir_buffer_printf(out, "[%c-9a-f]", from);
}

/* Hex digits that are T or more: those that begin as T does and are larger at the next digit, for each digit; and those
 * that begin with T. fd7 -> ^(?:f[ef]|fd[8-9a-f]|fd7). */
static void put_at_least(const char *threshold, int size, struct weir_buffer *out) {
    weir_buffer_text(out, "~^(?:");
    for (int i = 0; i < size; i++) {
        char next = (char)(threshold[i] == '9' ? 'a' : threshold[i] + 1);
        if (threshold[i] == 'f') continue;
        weir_buffer_put(out, threshold, (size_t)i);
        put_class(next, out);
        weir_buffer_byte(out, '|');
    }
    weir_buffer_put(out, threshold, (size_t)size);
    weir_buffer_byte(out, ')');
}

static void put_thresholds(const uint32_t *rates, uint32_t count, struct weir_buffer *out) {
    char digits[HEX_DIGITS + 2];
    weir_buffer_text(out, "\n# Kept where R, the last 56 bits of the trace's id, is the rate's threshold or more.\n"
                          "map $weir_trace32 $weir_randomness {\n"
                          "    \"~(?<weir_last14>[0-9a-f]{14})$\" $weir_last14;\n"
                          "}\n");
    for (uint32_t i = 0; i < count; i++) {
        if (rates[i] == 0 || rates[i] == 1000000) continue;
        weir_buffer_printf(out, "map $weir_randomness $weir_kept_%u {\n    \"", rates[i]);
        put_at_least(digits, threshold_digits(rates[i] / 1e6, digits), out);
        weir_buffer_text(out, "\" 1;\n    default 0;\n}\n");
    }
    weir_buffer_text(out, "map $weir_sample_rate $weir_own_sampled {\n");
    for (uint32_t i = 0; i < count; i++) {
        weir_buffer_text(out, "    ");
        weir_file_rate(rates[i] / 1e6, out);
        if (rates[i] == 0 || rates[i] == 1000000)
            weir_buffer_printf(out, " %d;\n", rates[i] != 0);
        else
            weir_buffer_printf(out, " $weir_kept_%u;\n", rates[i]);
    }
    weir_buffer_text(out, "}\nmap $weir_sample_rate $weir_threshold {\n");
    for (uint32_t i = 0; i < count; i++) {
        if (rates[i] == 0) continue;
        weir_buffer_text(out, "    ");
        weir_file_rate(rates[i] / 1e6, out);
        threshold_digits(rates[i] / 1e6, digits);
        weir_buffer_printf(out, " %s;\n", digits);
    }
    weir_buffer_text(out, "}\n");
}

void weir_file_nginx(const struct weir_file_source *source, bool otel, struct weir_buffer *out) {
    uint32_t *rates, count = rates_of(source->plan, &rates);
    if (count == 0) {
        out->failed = true;
        return;
    }
    weir_file_head(source, otel ? "an include for NGINX with its OpenTelemetry module" : "an include for NGINX", out);
    weir_buffer_text(out, otel ? use_otel : use);
    if (otel)
        weir_buffer_text(out, "\nmap $otel_trace_id $weir_trace32 {\n    default $otel_trace_id;\n}\n");
    else
        weir_buffer_text(out, source->ignore_incoming ? own_traces : traces);
    put_rows(source, out);
    put_thresholds(rates, count, out);
    weir_buffer_text(out, source->ignore_incoming ? own_decisions : decisions);
    free(rates);
}
