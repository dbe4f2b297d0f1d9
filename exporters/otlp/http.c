/* http.c - requests over HTTP/1.1 with kept connections, on libcurl's multi interface. */
#include "exporters/otlp/peer.h"
#include "exporters/otlp/squeeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 64 << 10 /* an answer has a number and a sentence: one that is longer does not end */ };

struct weir_otlp_http {
    struct weir_otlp_peer *peer;
    CURLM *multi;
    struct curl_slist *headers[WEIR_OTLP_ENCODINGS];
    struct weir_otlp_request *requests; /* under way */
};

static bool add(struct curl_slist **list, const char *line) {
    struct curl_slist *grown = curl_slist_append(*list, line);
    if (grown != NULL) *list = grown;
    return grown != NULL;
}

static enum weir_status set_headers(struct weir_otlp_http *http, struct weir_error *err) {
    const struct weir_exporter_config *config = http->peer->config;
    bool good = true;
    for (int e = 0; e < WEIR_OTLP_ENCODINGS; e++) {
        struct curl_slist **list = &http->headers[e];
        const char *encoding = weir_otlp_encoding_name((enum weir_otlp_encoding)e);
        char line[sizeof config->headers->name + sizeof config->headers->value + 4];
        good = good && add(list, "Content-Type: application/x-protobuf");
        good = good && add(list, "Expect:");         /* no round trip before a body */
        good = good && add(list, "weir-counted: 1"); /* the next Weir need not count these spans */
        snprintf(line, sizeof line, "Content-Encoding: %s", encoding != NULL ? encoding : "");
        if (encoding != NULL) good = good && add(list, line);
        for (uint32_t i = 0; i < config->header_count; i++) {
            const struct weir_header *header = &config->headers[i];
            snprintf(line, sizeof line, "%s%s%s", header->name, header->value[0] != 0 ? ": " : ";",
                     header->value); /* "Name;" is one without value */
            good = good && add(list, line);
        }
    }
    return good ? WEIR_OK : weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
}

static size_t take_reply(char *bytes, size_t one, size_t size, void *self) {
    struct weir_otlp_request *request = self;
    size *= one;
    weir_rpc_answer_data(&request->call.answer, (const uint8_t *)bytes, size);
    return request->call.answer.body_bytes > REPLY_MAX ? 0 : size; /* 0: libcurl ends it */
}

static void finish(struct weir_otlp_request *request, enum weir_otlp_outcome outcome, const char *why) {
    request->verdict = (struct weir_otlp_verdict){.outcome = outcome};
    snprintf(request->verdict.why, sizeof request->verdict.why, "%s", why);
    weir_otlp_peer_done(request->peer, request);
}

static void set_options(struct weir_otlp_http *http, struct weir_otlp_request *request) {
    const struct weir_exporter_config *config = http->peer->config;
    CURL *easy = request->easy;
    uint64_t now_ns = weir_mono_ns(http->peer->clock);
    uint64_t left_ms = request->call.deadline_ns > now_ns ? (request->call.deadline_ns - now_ns) / WEIR_MS : 0;
    curl_easy_reset(easy); /* keeps its connections */
    curl_easy_setopt(easy, CURLOPT_URL, http->peer->address.url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers[request->encoding]);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(left_ms > 0 ? left_ms : 1));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, (char *)request->call.body.bytes); /* not copied */
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->call.body.size);
    if (config->otlp.ca_file[0] != 0) curl_easy_setopt(easy, CURLOPT_CAINFO, config->otlp.ca_file);
    if (config->otlp.cert_file[0] != 0) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, config->otlp.cert_file);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, config->otlp.key_file);
    }
}

void weir_otlp_http_submit(struct weir_otlp_http *http, struct weir_otlp_request *request) {
    if (request->easy == NULL) request->easy = curl_easy_init();
    request->error[0] = 0;
    if (request->easy == NULL) {
        finish(request, WEIR_OTLP_UNREACHABLE, "out of memory");
        return;
    }
    set_options(http, request);
    if (curl_multi_add_handle(http->multi, request->easy) != CURLM_OK) {
        finish(request, WEIR_OTLP_UNREACHABLE, "out of memory");
        return;
    }
    request->next = http->requests;
    http->requests = request;
}

static void take_out(struct weir_otlp_http *http, struct weir_otlp_request *request) {
    struct weir_otlp_request **at = &http->requests;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    curl_multi_remove_handle(http->multi, request->easy);
}

void weir_otlp_http_finished(CURL *easy, CURLcode code) {
    struct weir_otlp_request *request = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)(void *)&request);
    struct weir_rpc_answer *answer = &request->call.answer;
    char *type = NULL;
    long status = 0;
    curl_off_t retry_after_s = 0; /* also when the header is a date */
    take_out(request->peer->http, request);
    if (code != CURLE_OK) {
        if (answer->body_bytes > REPLY_MAX)
            finish(request, WEIR_OTLP_NOT_ALLOWED, "an answer that did not end");
        else
            finish(request, code == CURLE_OPERATION_TIMEDOUT ? WEIR_OTLP_TIMED_OUT : WEIR_OTLP_UNREACHABLE,
                   request->error[0] != 0 ? request->error : curl_easy_strerror(code));
        return;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer->http_status = (int)status;
    weir_otlp_verdict_http(answer, type, retry_after_s > 0 ? (uint64_t)retry_after_s : 0, request->encoding,
                           &request->verdict);
    weir_otlp_peer_done(request->peer, request);
}

enum weir_status weir_otlp_http_open(struct weir_otlp_http **out, struct weir_otlp_peer *peer, CURLM *multi,
                                     struct weir_error *err) {
    struct weir_otlp_http *http = calloc(1, sizeof *http);
    if (http == NULL) return weir_fail(err, WEIR_FULL, 0, false, "otlp: out of memory");
    *out = http;
    http->peer = peer;
    http->multi = multi;
    return set_headers(http, err);
}

void weir_otlp_http_close(struct weir_otlp_http *http) {
    if (http == NULL) return;
    while (http->requests != NULL) {
        struct weir_otlp_request *request = http->requests;
        take_out(http, request);
        finish(request, WEIR_OTLP_UNREACHABLE, "closing");
    }
    for (int e = 0; e < WEIR_OTLP_ENCODINGS; e++)
        curl_slist_free_all(http->headers[e]);
    free(http);
}
