/* otlp_reference_said.h - what a span's attributes and tracestate say, read a second time from protobuf-c's structs and
 * by other means than the walker's: tables and whole passes, one fact at a time. */
#ifndef WEIR_TESTS_OTLP_REFERENCE_SAID_H
#define WEIR_TESTS_OTLP_REFERENCE_SAID_H
#include "collector/core/span.h"
#include "collector/core/utf8.h"
#include "collector/decode/number.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Opentelemetry__Proto__Trace__V1__Span ref_span;
typedef Opentelemetry__Proto__Common__V1__KeyValue ref_pair;

static bool ref_is_text(const ref_pair *pair) {
    return pair->value != NULL &&
           pair->value->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
}
static bool ref_is_int(const ref_pair *pair) {
    return pair->value != NULL &&
           pair->value->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
}
static bool ref_is_double(const ref_pair *pair) {
    return pair->value != NULL &&
           pair->value->value_case == OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE;
}

/* An int, or digits as text; -1: neither. */
static long long ref_whole(const ref_pair *pair) {
    if (ref_is_int(pair)) return pair->value->int_value;
    if (!ref_is_text(pair)) return -1;
    const char *text = pair->value->string_value;
    bool digits = strlen(text) < 10 && text[0] != 0 && strspn(text, "0123456789") == strlen(text);
    return digits ? atoll(text) : -1;
}

static unsigned ref_http_status(const ref_span *span) {
    unsigned found = 0;
    for (size_t i = 0; i < span->n_attributes; i++) {
        const ref_pair *pair = span->attributes[i];
        if (strcmp(pair->key, "http.status_code") != 0 && strcmp(pair->key, "http.response.status_code") != 0) continue;
        long long status = ref_whole(pair);
        if (status >= 100 && status <= 999) found = (unsigned)status;
    }
    return found;
}

static bool ref_forced(const ref_span *span) {
    for (size_t i = 0; i < span->n_attributes; i++) {
        const ref_pair *pair = span->attributes[i];
        if (strcmp(pair->key, "sampling.priority") == 0 && ref_whole(pair) > 0) return true;
        if (strcmp(pair->key, "guid:x-request-id") != 0 || !ref_is_text(pair)) continue;
        const char *id = pair->value->string_value;
        if (strlen(id) == 36 && id[14] == 'a' && weir_utf8_valid((const uint8_t *)id, 36)) return true;
    }
    return false;
}

/* 0: not said. */
static double ref_prior(const ref_span *span) {
    double found = 0;
    for (size_t i = 0; i < span->n_attributes; i++) {
        const ref_pair *pair = span->attributes[i];
        double prior = 0;
        if (strcmp(pair->key, "weir.prior_weight") != 0) continue;
        if (ref_is_int(pair)) prior = (double)pair->value->int_value;
        if (ref_is_double(pair)) prior = pair->value->double_value;
        if (ref_is_text(pair)) {
            const uint8_t *text = (const uint8_t *)pair->value->string_value, *end = text + strlen((const char *)text);
            if (weir_number_read(text, end, &prior) != end) prior = 0;
        }
        if (prior >= 1 && isfinite(prior)) found = prior;
    }
    return found;
}

/* Who was called: the first of the likeliest keys that has a name, or NULL. */
static const char *ref_peer(const ref_span *span) {
    static const char *const ranks[][5] = {
        {"peer.service"},
        {"upstream_cluster.name", "upstream_cluster"},
        {"server.address", "net.peer.name"},
        {"db.system", "messaging.system"},
        {"peer.address", "net.peer.ip", "net.sock.peer.addr", "network.peer.address"},
    };
    if ((int)span->kind != WEIR_KIND_CLIENT && (int)span->kind != WEIR_KIND_PRODUCER) return NULL;
    for (size_t rank = 0; rank < 5; rank++) {
        for (size_t i = 0; i < span->n_attributes; i++) {
            const ref_pair *pair = span->attributes[i];
            if (!ref_is_text(pair) || pair->value->string_value[0] == 0) continue;
            for (const char *const *key = ranks[rank]; key < ranks[rank] + 5 && *key != NULL; key++) {
                if (strcmp(pair->key, *key) == 0) return pair->value->string_value;
            }
        }
    }
    return NULL;
}

/* The value of `ot`'s sub-key as 56 bits; false: not there, or does not read. The last one that reads counts. */
static bool ref_tracestate(const char *tracestate, const char *key, size_t least, uint64_t *bits) {
    bool found = false;
    char *copy = strdup(tracestate), *rest = copy, *member;
    while ((member = strsep(&rest, ",")) != NULL) {
        member += strspn(member, " \t");
        if (strncmp(member, "ot=", 3) != 0) continue;
        size_t size = strlen(member);
        while (size > 3 && (member[size - 1] == ' ' || member[size - 1] == '\t'))
            member[--size] = 0;
        if (size == 3) continue;
        char *parts = member + 3, *part;
        while ((part = strsep(&parts, ";")) != NULL) {
            size_t hex = strlen(part) < 3 ? 0 : strspn(part + 3, "0123456789abcdef");
            if (strncmp(part, key, 3) != 0 || hex < least || hex > 14 || part[3 + hex] != 0) continue;
            char padded[15] = "00000000000000";
            memcpy(padded, part + 3, hex);
            *bits = strtoull(padded, NULL, 16);
            found = true;
        }
        break;
    }
    free(copy);
    return found;
}
#endif
