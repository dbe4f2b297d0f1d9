/* zipkin.c - batches to Zipkin's POST /api/v2/spans, on libcurl's multi interface.
 * A batch is cut into bodies of max_body_bytes, sent one after the other; how far it got stays in the ticket, so that a
 * retry goes on behind the last body that was answered. Several batches are under way at once, as the queue sends them.
 */
#include "collector/core/log.h"
#include "collector/rpc/secure.h"
#include "exporters/exporter.h"
#include "exporters/zipkin/encode.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_BYTES = 160 /* of a refusal, for the log */ };

enum { SENT_BYTES, ANSWERED_2XX, ANSWERED_4XX, ANSWERED_5XX, ANSWERED_OTHER, NOT_ANSWERED, ZIPKIN_METRICS };
static const struct weir_metric metrics[ZIPKIN_METRICS] = {
    [SENT_BYTES] = {"zipkin_body_bytes_total", NULL, WEIR_COUNTER, "Bytes of the bodies that Zipkin answered."},
    [ANSWERED_2XX] = {"zipkin_posts_total", "answer=\"2xx\"", WEIR_COUNTER,
                      "POST requests to Zipkin, by the class of its answer."},
    [ANSWERED_4XX] = {"zipkin_posts_total", "answer=\"4xx\"", WEIR_COUNTER,
                      "POST requests to Zipkin, by the class of its answer."},
    [ANSWERED_5XX] = {"zipkin_posts_total", "answer=\"5xx\"", WEIR_COUNTER,
                      "POST requests to Zipkin, by the class of its answer."},
    [ANSWERED_OTHER] = {"zipkin_posts_total", "answer=\"other\"", WEIR_COUNTER,
                        "POST requests to Zipkin, by the class of its answer."},
    [NOT_ANSWERED] = {"zipkin_posts_total", "answer=\"none\"", WEIR_COUNTER,
                      "POST requests to Zipkin, by the class of its answer."},
};

struct zipkin;

/* One batch under way. */
struct post {
    struct post *next;
    struct zipkin *zipkin;
    CURL *easy; /* kept from batch to batch */
    const struct weir_batch *batch;
    struct weir_ticket *ticket;
    uint32_t end; /* index behind the last span of the body under way */
    struct weir_buffer body;
    char reply[REPLY_BYTES];
    size_t reply_size;
    char error[CURL_ERROR_SIZE];
    char why[REPLY_BYTES + 64]; /* of the last refusal in this batch */
};

struct zipkin {
    CURLM *multi;
    struct curl_slist *headers;
    struct post *active, *spare;
    struct weir_zipkin_scratch scratch;
    size_t max_body_bytes;
    bool json;
    unsigned settled; /* since drive() began */
    struct weir_exporter_config config;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
};

/* ---- setting up ---- */

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool add_header(struct zipkin *zipkin, const char *text) {
    struct curl_slist *grown = curl_slist_append(zipkin->headers, text);
    if (grown == NULL) return false;
    zipkin->headers = grown;
    return true;
}

static enum weir_status set_headers(struct zipkin *zipkin, struct weir_error *err) {
    bool good =
        add_header(zipkin, zipkin->json ? "Content-Type: application/json" : "Content-Type: application/x-protobuf");
    good = good && add_header(zipkin, "Expect:"); /* no round trip before a body */
    for (uint32_t i = 0; good && i < zipkin->config.header_count; i++) {
        const struct weir_header *header = &zipkin->config.headers[i];
        char line[sizeof header->name + sizeof header->value + 4];
        if (header->name[0] == 0 || strpbrk(header->name, ":\r\n ") != NULL || strpbrk(header->value, "\r\n") != NULL) {
            return weir_fail(err, WEIR_INVALID, 0, false, "zipkin: headers: \"%s\" is not a header", header->name);
        }
        snprintf(line, sizeof line, "%s%s%s", header->name, header->value[0] != 0 ? ": " : ";",
                 header->value); /* "Name;" is one without value */
        good = add_header(zipkin, line);
    }
    return good ? WEIR_OK : weir_fail(err, WEIR_FULL, 0, false, "zipkin: out of memory");
}

/* Redirects are not followed, so that this one look at the scheme is enough. */
static enum weir_status check_url(const char *url, struct weir_error *err) {
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    CURLUcode code = parsed == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(parsed, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK) code = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    enum weir_status status = WEIR_OK;
    if (code != CURLUE_OK) {
        status = weir_fail(err, WEIR_INVALID, 0, false, "zipkin: url: %s",
                           curl_url_strerror(code)); /* not the url: it may hold a password */
    } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        status = weir_fail(err, WEIR_INVALID, 0, false, "zipkin: url: scheme %s is neither http nor https", scheme);
    }
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return status;
}

/* Without this curl would say so at each post. */
static enum weir_status check_ca(const char *path, struct weir_error *err) {
    SSL_CTX *context = NULL;
    if (path[0] == 0) return WEIR_OK;
    enum weir_status status =
        weir_rpc_secure_context(&(struct weir_rpc_tls){.ca = path, .ca_is = "zipkin: ca_file"}, &context, err);
    SSL_CTX_free(context);
    return status;
}

static enum weir_status zipkin_check(const struct weir_exporter_config *config, struct weir_error *err) {
    enum weir_status status = check_url(config->zipkin.url, err);
    return status == WEIR_OK ? check_ca(config->zipkin.ca_file, err) : status;
}

static size_t take_reply(char *bytes, size_t one, size_t size, void *self) {
    struct post *post = self;
    size_t more = size * one, room = sizeof post->reply - 1 - post->reply_size;
    if (more > room) more = room;
    memcpy(post->reply + post->reply_size, bytes, more);
    post->reply_size += more;
    return size * one; /* the rest is read and forgotten */
}

static void post_free(struct post *post) {
    if (post == NULL) return;
    curl_easy_cleanup(post->easy);
    weir_buffer_free(&post->body);
    free(post);
}

static struct post *post_new(struct zipkin *zipkin) {
    struct post *post = calloc(1, sizeof *post);
    if (post == NULL) return NULL;
    post->zipkin = zipkin;
    CURL *easy = post->easy = curl_easy_init();
    if (easy == NULL) {
        post_free(post);
        return NULL;
    }
    long timeout_ms = (long)(zipkin->config.zipkin.timeout_ns / WEIR_MS);
    if (timeout_ms < 1) timeout_ms = 1;
    curl_easy_setopt(easy, CURLOPT_URL, zipkin->config.zipkin.url);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY,
                     ""); /* no proxy by an inherited environment variable: traces go where the file says */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < 5000 ? timeout_ms : 5000L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024); /* fewer, larger writes for bodies of a MiB */
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, zipkin->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, post);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, post->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, post);
    if (zipkin->config.zipkin.ca_file[0] != 0) curl_easy_setopt(easy, CURLOPT_CAINFO, zipkin->config.zipkin.ca_file);
    return post;
}

/* ---- one batch's way ---- */

static void settle(struct post *post, enum weir_settlement how, uint64_t retry_after_ns, const char *why) {
    struct zipkin *zipkin = post->zipkin;
    struct weir_ticket *ticket = post->ticket;
    for (struct post **at = &zipkin->active; *at != NULL; at = &(*at)->next) {
        if (*at != post) continue;
        *at = post->next;
        break;
    }
    if (post->body.capacity > 4 * zipkin->max_body_bytes) weir_buffer_free(&post->body); /* one huge span is no habit */
    zipkin->settled++;
    ticket->settle(ticket, how, retry_after_ns, why); /* may free ticket and batch */
    post->batch = NULL;
    post->ticket = NULL;
    post->next = zipkin->spare;
    zipkin->spare = post;
}

static void send_next(struct post *post) {
    struct zipkin *zipkin = post->zipkin;
    uint32_t first = post->ticket->settled_spans;
    if (first >= post->batch->span_count) {
        settle(post, post->ticket->rejected_spans >= post->batch->span_count ? WEIR_REJECTED : WEIR_DELIVERED, 0,
               post->why);
        return;
    }
    weir_buffer_clear(&post->body);
    post->end = first;
    if (weir_zipkin_begin(&zipkin->scratch, post->batch)) {
        post->end = (zipkin->json ? weir_zipkin_encode_json : weir_zipkin_encode_proto3)(
            &zipkin->scratch, first, zipkin->max_body_bytes, &post->body);
    }
    if (post->end == first || post->body.failed) {
        settle(post, WEIR_RETRY, 0, "zipkin: out of memory");
        return;
    }
    post->reply_size = 0;
    post->error[0] = 0;
    curl_easy_setopt(post->easy, CURLOPT_POSTFIELDS, (char *)post->body.bytes); /* not copied */
    curl_easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.size);
    if (curl_multi_add_handle(zipkin->multi, post->easy) != CURLM_OK)
        settle(post, WEIR_RETRY, 0, "zipkin: out of memory");
}

/* What Zipkin said, fit for a line of the log. */
static void describe(const struct post *post, long status, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "HTTP %ld", status);
    if (post->reply_size > 0) n += (size_t)snprintf(out + n, size - n, ": ");
    for (size_t i = 0; i < post->reply_size && n + 1 < size; i++) {
        char c = post->reply[i];
        out[n++] = c < 0x20 || c > 0x7e ? ' ' : c == '"' ? '\'' : c;
    }
    out[n] = 0;
}

static void finished(struct post *post, CURLcode code) {
    struct zipkin *zipkin = post->zipkin;
    curl_multi_remove_handle(zipkin->multi, post->easy);
    if (code != CURLE_OK) {
        char why[CURL_ERROR_SIZE + 16];
        snprintf(why, sizeof why, "zipkin: %s", post->error[0] != 0 ? post->error : curl_easy_strerror(code));
        weir_count(zipkin->set, NOT_ANSWERED, 1);
        settle(post, WEIR_RETRY, 0, why);
        return;
    }
    long status = 0;
    curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
    weir_count(zipkin->set,
               status / 100 == 2   ? ANSWERED_2XX
               : status / 100 == 4 ? ANSWERED_4XX
               : status / 100 == 5 ? ANSWERED_5XX
                                   : ANSWERED_OTHER,
               1);
    weir_count(zipkin->set, SENT_BYTES, post->body.size);
    if (status == 408 || status == 429 || status / 100 == 5) {
        curl_off_t retry_after_s = 0; /* also when the header is a date */
        char why[sizeof post->why];
        describe(post, status, why, sizeof why);
        curl_easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        if (retry_after_s < 0 || retry_after_s > 86400) retry_after_s = 86400;
        settle(post, WEIR_RETRY, (uint64_t)retry_after_s * WEIR_S, why);
        return;
    }
    if (status / 100 != 2) { /* the same body would be refused again; redirects are not followed */
        describe(post, status, post->why, sizeof post->why);
        post->ticket->rejected_spans += post->end - post->ticket->settled_spans;
    }
    post->ticket->settled_spans = post->end;
    send_next(post);
}

static void zipkin_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    struct zipkin *zipkin = self;
    struct post *post = zipkin->spare != NULL ? zipkin->spare : post_new(zipkin);
    if (post == NULL) {
        ticket->settle(ticket, WEIR_RETRY, 0, "zipkin: out of memory");
        return;
    }
    if (post == zipkin->spare) zipkin->spare = post->next;
    post->next = zipkin->active;
    zipkin->active = post;
    post->batch = batch;
    post->ticket = ticket;
    post->why[0] = 0;
    send_next(post);
}

static void work_off(struct zipkin *zipkin) {
    int running, left;
    curl_multi_perform(zipkin->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(zipkin->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result; /* the message does not outlive curl_multi_remove_handle() */
        struct post *post = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)(void *)&post);
        finished(post, code);
    }
}

static void zipkin_drive(void *self, int timeout_ms) {
    struct zipkin *zipkin = self;
    zipkin->settled = 0;
    work_off(zipkin);
    if (zipkin->settled > 0 || timeout_ms <= 0) return;
    curl_multi_poll(zipkin->multi, NULL, 0, timeout_ms, NULL);
    work_off(zipkin);
}

static void zipkin_wake(void *self) {
    curl_multi_wakeup(((struct zipkin *)self)->multi);
}

static void zipkin_close(void *self) {
    struct zipkin *zipkin = self;
    if (zipkin == NULL) return;
    while (zipkin->active != NULL) {
        curl_multi_remove_handle(zipkin->multi, zipkin->active->easy);
        settle(zipkin->active, WEIR_RETRY, 0, "zipkin: closing");
    }
    while (zipkin->spare != NULL) {
        struct post *next = zipkin->spare->next;
        post_free(zipkin->spare);
        zipkin->spare = next;
    }
    curl_multi_cleanup(zipkin->multi);
    curl_slist_free_all(zipkin->headers);
    weir_zipkin_scratch_free(&zipkin->scratch);
    if (zipkin->set != NULL) weir_metrics_close(zipkin->registry, zipkin->set);
    free(zipkin);
}

static enum weir_status zipkin_open(void **self, const struct weir_exporter_config *config,
                                    const struct weir_exporter_env *env, struct weir_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct zipkin *zipkin = calloc(1, sizeof *zipkin);
    if (zipkin == NULL) return weir_fail(err, WEIR_FULL, 0, false, "zipkin: out of memory");
    zipkin->config = *config;
    zipkin->json = config->zipkin.encoding == WEIR_ZIPKIN_JSON;
    zipkin->max_body_bytes = config->zipkin.max_body_bytes;
    zipkin->registry = env->metrics;
    char labels[160];
    snprintf(labels, sizeof labels, "exporter=\"%s\"", config->name);
    enum weir_status status = zipkin_check(config, err);
    if (status == WEIR_OK) status = set_headers(zipkin, err);
    if (status == WEIR_OK) {
        zipkin->multi = curl_multi_init();
        zipkin->set = weir_metrics_open(env->metrics, metrics, ZIPKIN_METRICS, labels);
        if (zipkin->multi == NULL || zipkin->set == NULL)
            status = weir_fail(err, WEIR_FULL, 0, false, "zipkin: out of memory");
    }
    if (status != WEIR_OK) {
        zipkin_close(zipkin);
        return status;
    }
    *self = zipkin;
    return WEIR_OK;
}

const struct weir_exporter weir_export_zipkin = {
    .type = "zipkin",
    .check = zipkin_check,
    .open = zipkin_open,
    .send = zipkin_send,
    .drive = zipkin_drive,
    .wake = zipkin_wake,
    .close = zipkin_close,
};
