#include "collector/emit/options.h"

#include "collector/config/values.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum type { COUNT, DURATION, SHARE, FLAG, TEXT, ADDRESS, LATENCY, SENDERS, VIA };

struct row {
    const char *name;
    enum type type;
    size_t at;
    const char *value; /* as --help calls it */
    const char *fallback;
    uint64_t min, max;
    const char *help;
};

#define AT(member) offsetof(struct weir_emit_options, member)
static const struct row rows[] = {
    {"via", VIA, AT(via), "otlp|datagram", "otlp", 0, 0, "OTLP/gRPC, or Weir datagrams over UDP"},
    {"endpoint", ADDRESS, AT(endpoint), "HOST:PORT", NULL, 0, 0,
     "where to (127.0.0.1:4317; via datagram 127.0.0.1:4319)"},
    {"statsd", ADDRESS, AT(statsd), "HOST:PORT", NULL, 0, 0,
     "also send counters, gauges and timers as DogStatsD lines over UDP"},
    {"spans", COUNT, AT(spans), "N", NULL, 1, 1ull << 48, "play N spans; 10000 when no end and no rate is given"},
    {"traces", COUNT, AT(traces), "N", NULL, 1, 1ull << 48, "play N traces"},
    {"duration", DURATION, AT(duration_ns), "T", NULL, 1, 1ull << 53, "play for so long (30s, 10m)"},
    {"rate", COUNT, AT(rate), "N", "0", 0, 1000000000,
     "spans a second; 0: as fast as they are acknowledged, via datagram 100000"},
    {"services", COUNT, AT(services), "N", "10", 1, 1000, "services in the mesh"},
    {"operations", COUNT, AT(operations), "N", "5", 1, 100, "operations a service"},
    {"spans-per-trace", COUNT, AT(spans_per_trace), "N", "8", 1, 1000, "spans of one trace"},
    {"depth", COUNT, AT(depth), "N", "4", 1, 64, "services on one path through the mesh"},
    {"errors", SHARE, AT(errors), "SHARE", "0.01", 0, 0, "requests that fail by themselves, as 0.01 or 1%"},
    {"latency", LATENCY, AT(latency_ns), "MEDIAN[:SIGMA]", "5ms:0.8", 0, 0,
     "a service's own time a request: log-normal"},
    {"attributes", COUNT, AT(attributes), "N", "8", 0, 64, "attributes a span; 8 make spans of about 361 bytes"},
    {"ids", FLAG, AT(ids), NULL, NULL, 0, 0, "numbers and UUIDs in the paths of two operations in four"},
    {"batch", COUNT, AT(batch), "N", "100", 1, 10000, "spans a request"},
    {"in-flight", COUNT, AT(in_flight), "N", "16", 1, 1000, "requests without an answer, a connection"},
    {"connections", COUNT, AT(connections), "N", "1", 1, 256,
     "HTTP/2 connections; via datagram sockets, each a sender"},
    {"datagram-bytes", COUNT, AT(datagram_bytes), "N", "1400", 256, 65507, "of a datagram at most"},
    {"hmac-key-file", TEXT, AT(hmac_key_file), "FILE", NULL, 0, 0, "sign datagrams with the key in it"},
    {"senders", SENDERS, AT(senders), "per-service|gateway", "per-service", 0, 0,
     "a request holds one service, as a proxy's, or many"},
    {"sample", SHARE, AT(sample), "SHARE", "1", 0, 0, "send only this share of traces, consistently, marked ot=th"},
    {"sample-independent", SHARE, AT(sample_independent), "SHARE", "1", 0, 0,
     "send only this share of traces, unmarked"},
    {"gzip", FLAG, AT(gzip), NULL, NULL, 0, 0, "compress requests"},
    {"tls-ca", TEXT, AT(tls_ca), "FILE", NULL, 0, 0, "send over TLS, to a server of these authorities (PEM)"},
    {"tls-cert", TEXT, AT(tls_cert), "FILE", NULL, 0, 0, "show this certificate (PEM)"},
    {"tls-key", TEXT, AT(tls_key), "FILE", NULL, 0, 0, "its private key (PEM)"},
    {"token-file", TEXT, AT(token_file), "FILE", NULL, 0, 0, "send the bearer token in its first line"},
    {"retries", COUNT, AT(retries), "N", "5", 0, 1000, "send a refused request again, when its answer allows it"},
    {"timeout", DURATION, AT(timeout_ns), "T", "10s", 1000000, 86400000000000,
     "for an answer, and for a connection that was lost"},
    {"seed", COUNT, AT(seed), "N", "1", 0, INT64_MAX, "the same seed plays the same mesh, traces and times"},
    {"start-time", COUNT, AT(start_time_s), "SECONDS", "0", 0, 4000000000, "Unix time of the first trace; 0: now"},
    {"truth", TEXT, AT(truth), "FILE", NULL, 0, 0, "write the exact totals of what was played, as JSON"},
    {"json", FLAG, AT(json), NULL, NULL, 0, 0, "the summary as one JSON object"},
    {"quiet", FLAG, AT(quiet), NULL, NULL, 0, 0, "no progress line"},
    {"allow-refused", FLAG, AT(allow_refused), NULL, NULL, 0, 0, "exit 0 also when spans were refused"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static enum weir_status bad(struct weir_error *err, const struct row *row, const char *text, const char *why) {
    return weir_fail(err, WEIR_INVALID, 0, false, "--%s %s: %s", row->name, text, why);
}

static enum weir_status read_latency(const struct row *row, const char *text, struct weir_emit_options *options,
                                     struct weir_error *err) {
    char median[32];
    const char *colon = strchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (size >= sizeof median) return bad(err, row, text, "not a duration");
    memcpy(median, text, size);
    median[size] = 0;
    uint64_t ns;
    double sigma = 0.8;
    if (!weir_value_duration(median, &ns) || ns > 3600000000000)
        return bad(err, row, text, "the median is a duration up to 1h (5ms)");
    if (colon != NULL && (!weir_value_number(colon + 1, &sigma) || sigma < 0 || sigma > 5))
        return bad(err, row, text, "sigma is a number from 0 to 5");
    options->latency_ns = ns;
    options->latency_sigma = sigma;
    return WEIR_OK;
}

static enum weir_status read_value(const struct row *row, const char *text, struct weir_emit_options *options,
                                   struct weir_error *err) {
    void *at = (char *)options + row->at;
    char why[96];
    switch (row->type) {
    case COUNT: {
        int64_t value;
        if (!weir_value_integer(text, &value)) return bad(err, row, text, "not a whole number");
        if (value < 0 || (uint64_t)value < row->min || (uint64_t)value > row->max) {
            snprintf(why, sizeof why, "not between %llu and %llu", (unsigned long long)row->min,
                     (unsigned long long)row->max);
            return bad(err, row, text, why);
        }
        *(uint64_t *)at = (uint64_t)value;
        return WEIR_OK;
    }
    case DURATION: {
        uint64_t value;
        if (!weir_value_duration(text, &value)) return bad(err, row, text, "not a duration (500ms, 10s, 5m)");
        if (value < row->min || value > row->max) return bad(err, row, text, "too short or too long");
        *(uint64_t *)at = value;
        return WEIR_OK;
    }
    case SHARE:
        if (!weir_value_ratio(text, at)) return bad(err, row, text, "not a share from 0 to 1 (0.01, 1%)");
        return WEIR_OK;
    case ADDRESS: {
        struct weir_listen *listen = at;
        if (!weir_value_listen(text, "127.0.0.1", listen) || !listen->on || listen->port == 0)
            return bad(err, row, text, "not HOST:PORT");
        return WEIR_OK;
    }
    case TEXT:
        if (text[0] == 0) return bad(err, row, text, "is empty");
        *(const char **)at = text;
        return WEIR_OK;
    case LATENCY: return read_latency(row, text, options, err);
    case SENDERS:
        if (strcmp(text, "per-service") == 0) {
            options->senders = WEIR_EMIT_PER_SERVICE;
        } else if (strcmp(text, "gateway") == 0) {
            options->senders = WEIR_EMIT_GATEWAY;
        } else {
            return bad(err, row, text, "neither per-service nor gateway");
        }
        return WEIR_OK;
    case VIA:
        if (strcmp(text, "otlp") == 0) {
            options->via = WEIR_EMIT_OTLP;
        } else if (strcmp(text, "datagram") == 0) {
            options->via = WEIR_EMIT_DATAGRAM;
        } else {
            return bad(err, row, text, "neither otlp nor datagram");
        }
        return WEIR_OK;
    case FLAG: *(bool *)at = true; return WEIR_OK;
    }
    return WEIR_OK;
}

static const struct row *find(const char *name, size_t size) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strlen(rows[i].name) == size && memcmp(rows[i].name, name, size) == 0) return &rows[i];
    }
    return NULL;
}

static enum weir_status check(struct weir_emit_options *options, struct weir_error *err) {
    if (options->spans != 0 && options->traces != 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "--traces: --spans is given too");
    if (options->sample == 0) return weir_fail(err, WEIR_INVALID, 0, false, "--sample 0: nothing would be sent");
    if (options->sample_independent == 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "--sample-independent 0: nothing would be sent");
    if (options->via == WEIR_EMIT_DATAGRAM && options->gzip)
        return weir_fail(err, WEIR_INVALID, 0, false, "--gzip: datagrams are not compressed");
    if (options->via != WEIR_EMIT_DATAGRAM && options->hmac_key_file != NULL)
        return weir_fail(err, WEIR_INVALID, 0, false, "--hmac-key-file: only datagrams are signed (--via datagram)");
    if (options->via == WEIR_EMIT_DATAGRAM && (options->tls_ca != NULL || options->token_file != NULL))
        return weir_fail(err, WEIR_INVALID, 0, false, "--%s: not for datagrams",
                         options->tls_ca != NULL ? "tls-ca" : "token-file");
    if ((options->tls_cert == NULL) != (options->tls_key == NULL))
        return weir_fail(err, WEIR_INVALID, 0, false, "--tls-cert and --tls-key: one is given without the other");
    if (options->tls_cert != NULL && options->tls_ca == NULL)
        return weir_fail(err, WEIR_INVALID, 0, false, "--tls-cert: --tls-ca is not given");
    if (!options->endpoint.on) {
        const char *local = options->via == WEIR_EMIT_DATAGRAM ? "127.0.0.1:4319" : "127.0.0.1:4317";
        weir_value_listen(local, "127.0.0.1", &options->endpoint);
    }
    if (options->spans == 0 && options->traces == 0 && options->duration_ns == 0 && options->rate == 0)
        options->spans = 10000;
    /* Nobody answers a datagram, so nobody slows a sender down. */
    if (options->via == WEIR_EMIT_DATAGRAM && options->rate == 0) options->rate = 100000;
    return WEIR_OK;
}

enum weir_status weir_emit_options_parse(int argc, char **argv, struct weir_emit_options *options, bool *help,
                                         struct weir_error *err) {
    memset(options, 0, sizeof *options);
    *help = false;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].fallback == NULL) continue;
        enum weir_status status = read_value(&rows[i], rows[i].fallback, options, err);
        if (status != WEIR_OK) return status;
    }
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            *help = true;
            return WEIR_OK;
        }
        if (strncmp(word, "--", 2) != 0) return weir_fail(err, WEIR_INVALID, 0, false, "%.64s: not an option", word);
        const char *equals = strchr(word, '=');
        size_t size = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const struct row *row = find(word + 2, size);
        if (row == NULL) return weir_fail(err, WEIR_INVALID, 0, false, "%.64s: no such option", word);
        const char *text = "";
        if (row->type == FLAG) {
            if (equals != NULL) return weir_fail(err, WEIR_INVALID, 0, false, "--%s: takes no value", row->name);
        } else if (equals != NULL) {
            text = equals + 1;
        } else if (i + 1 < argc) {
            text = argv[++i];
        } else {
            return weir_fail(err, WEIR_INVALID, 0, false, "--%s: %s has to follow", row->name, row->value);
        }
        enum weir_status status = read_value(row, text, options, err);
        if (status != WEIR_OK) return status;
    }
    return check(options, err);
}

void weir_emit_options_print(void) {
    puts("usage: weir emit [OPTION...]\n"
         "\n"
         "Plays a mesh: traces of requests through services, sent as their proxies would send them, and says what "
         "became of\n"
         "every span. Ctrl-C ends it with the summary.\n");
    for (size_t i = 0; i < ROWS; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", rows[i].name, rows[i].value != NULL ? rows[i].value : "");
        printf("  %-32s %s", left, rows[i].help);
        if (rows[i].fallback != NULL && strcmp(rows[i].fallback, "0") != 0) printf(" (%s)", rows[i].fallback);
        putchar('\n');
    }
    puts("\nExit 0; 1 when spans were refused, rejected or not answered, or nothing could be sent; 2 for wrong usage.");
}
