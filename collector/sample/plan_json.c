#include "collector/sample/plan_json.h"
#include "collector/core/utf8.h"

#include <math.h>

/* ---- values ---- */

static void put_escaped(struct weir_buffer *out, const uint8_t *bytes, size_t size) {
    weir_buffer_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        uint8_t c = bytes[i];
        if (c < 0x20) {
            weir_buffer_printf(out, "\\u%04x", (unsigned)c);
            continue;
        }
        if (c == '"' || c == '\\') weir_buffer_byte(out, '\\');
        weir_buffer_byte(out, c);
    }
    weir_buffer_byte(out, '"');
}

void weir_plan_write_text(const char *text, size_t size, struct weir_buffer *out) {
    const uint8_t *bytes = (const uint8_t *)text;
    if (weir_utf8_valid(bytes, size)) {
        put_escaped(out, bytes, size);
        return;
    }
    struct weir_buffer sound = {0};
    if (!weir_buffer_room(&sound, 3 * size)) {
        out->failed = true;
        return;
    }
    sound.size = weir_utf8_repair(bytes, size, sound.bytes);
    put_escaped(out, sound.bytes, sound.size);
    weir_buffer_free(&sound);
}

static void put_key(struct weir_buffer *out, const char *key) {
    if (out->size > 0 && out->bytes[out->size - 1] != '{') weir_buffer_byte(out, ',');
    weir_buffer_printf(out, "\"%s\":", key);
}

static void put_name(struct weir_buffer *out, const char *key, const struct weir_names *names, uint32_t id) {
    size_t size;
    const char *text = weir_names_text(names, id, &size);
    put_key(out, key);
    weir_plan_write_text(text, size, out);
}

static void put_number(struct weir_buffer *out, const char *key, double value) {
    put_key(out, key);
    weir_buffer_double(out, isfinite(value) ? value : 0); /* JSON has no other numbers */
}

static void put_version(struct weir_buffer *out, const char *key, uint64_t version) {
    put_key(out, key);
    weir_buffer_printf(out, "\"%016llx\"", (unsigned long long)version);
}

/* ---- the plan ---- */

static void put_rate(struct weir_buffer *out, const struct weir_plan_rate *rate) {
    put_number(out, "rate", rate->rate);
    put_key(out, "why");
    weir_buffer_printf(out, "\"%s\"", rate->why < WEIR_PLAN_WHYS ? weir_plan_why_names[rate->why] : "");
    put_key(out, "since");
    weir_buffer_printf(out, "%llu.%03llu", (unsigned long long)(rate->since_unix_ns / 1000000000u),
                       (unsigned long long)(rate->since_unix_ns / 1000000u % 1000u));
}

static void put_service(struct weir_buffer *out, const struct weir_plan_service *service,
                        const struct weir_names *names) {
    weir_buffer_byte(out, '{');
    if (service->rate.name != WEIR_NAME_NONE) put_name(out, "service", names, service->rate.name);
    put_version(out, "version", service->version);
    put_rate(out, &service->rate);
    if (service->max_traces_per_second >= 0) put_number(out, "max_traces_per_second", service->max_traces_per_second);
    if (service->batching.min_flush_spans != 0) put_number(out, "min_flush_spans", service->batching.min_flush_spans);
    if (service->batching.flush_interval_ns != 0)
        put_number(out, "flush_interval", (double)service->batching.flush_interval_ns / 1e9);
    put_key(out, "operations");
    weir_buffer_byte(out, '[');
    for (uint32_t i = 0; i < service->operation_count; i++) {
        weir_buffer_text(out, i == 0 ? "{" : ",{");
        put_name(out, "operation", names, service->operations[i].name);
        put_rate(out, &service->operations[i]);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "]}");
}

void weir_plan_write(const struct weir_plan *plan, const struct weir_names *names, struct weir_buffer *out) {
    weir_buffer_byte(out, '{');
    put_version(out, "version", plan->version);
    put_version(out, "policy", plan->policy);
    put_key(out, "default");
    put_service(out, &plan->fallback, names);
    put_key(out, "services");
    weir_buffer_byte(out, '[');
    for (uint32_t i = 0; i < plan->service_count; i++) {
        if (i > 0) weir_buffer_byte(out, ',');
        put_service(out, &plan->services[i], names);
    }
    weir_buffer_text(out, "]}");
}

/* ---- what it is reckoned with ---- */

void weir_control_view_write(const struct weir_control_view *view, const struct weir_names *names,
                             struct weir_buffer *out) {
    weir_buffer_byte(out, '{');
    put_name(out, "service", names, view->service);
    if (view->operation != WEIR_NAME_NONE) put_name(out, "operation", names, view->operation);
    put_number(out, "offered", view->offered);
    put_number(out, "rate", view->rate);
    put_number(out, "spans_per_second", view->spans_per_second);
    put_number(out, "bytes_per_second", view->bytes_per_second);
    put_number(out, "spans_offered", view->spans_offered);
    put_number(out, "bytes_offered", view->bytes_offered);
    put_number(out, "proxy_cpu", view->proxy_cpu);
    put_key(out, "incident");
    weir_buffer_text(out, view->incident ? "true}" : "false}");
}

static bool has_bounds(const struct weir_proxies_budget *budget) {
    return budget->spans_per_second > 0 || budget->bytes_per_second > 0 || budget->proxy_cpu > 0;
}

static void put_bounds(struct weir_buffer *out, const struct weir_proxies_budget *budget) {
    if (budget->spans_per_second > 0) put_number(out, "spans_per_second", budget->spans_per_second);
    if (budget->bytes_per_second > 0) put_number(out, "bytes_per_second", budget->bytes_per_second);
    if (budget->proxy_cpu > 0) put_number(out, "proxy_cpu", budget->proxy_cpu);
}

void weir_proxies_write_budgets(const struct weir_proxies *proxies, const struct weir_names *names,
                                struct weir_buffer *out) {
    bool first = true;
    weir_buffer_text(out, "{\"fleet\":{");
    put_bounds(out, &proxies->budget);
    weir_buffer_text(out, "},\"services\":[");
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        const struct weir_proxies_service *service = &proxies->services[i];
        if (!has_bounds(&service->budget)) continue;
        weir_buffer_text(out, first ? "{" : ",{");
        first = false;
        put_name(out, "service", names, service->rule.name);
        put_bounds(out, &service->budget);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_text(out, "]}");
}
