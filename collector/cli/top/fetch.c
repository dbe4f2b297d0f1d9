#include "collector/cli/top/fetch.h"
#include "collector/core/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { METRICS, POLICY, READY, PARTS };
enum { BODY_BYTES_MAX = 16 << 20, REFUSAL_BYTES_MAX = 200, FDS_MAX = 4 };
static const char *const paths[PARTS] = {"/metrics", "/policy", "/-/ready"};

struct part {
    CURL *easy;
    struct curl_slist *headers;
    CURLcode code;
    bool done;
    char why[CURL_ERROR_SIZE];
    struct weir_buffer body; /* of /metrics only what is no page */
};
struct weir_top_fetch {
    const struct weir_ask *ask;
    struct weir_names *names;
    CURLM *multi;
    struct part parts[PARTS];
    bool busy;
    struct weir_exposition lines;
    struct weir_top_page page;
    bool broken; /* more than a page has */
};

static long status_of(CURL *easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* Of what is longer the beginning is kept, as it is only for a message. */
static size_t on_refusal(struct weir_buffer *body, const char *bytes, size_t size) {
    size_t room = body->size < REFUSAL_BYTES_MAX ? REFUSAL_BYTES_MAX - body->size : 0;
    weir_buffer_put(body, bytes, size < room ? size : room);
    return size;
}

static size_t on_page(char *bytes, size_t one, size_t size, void *self) {
    struct weir_top_fetch *fetch = self;
    (void)one;
    if (status_of(fetch->parts[METRICS].easy) != 200) return on_refusal(&fetch->parts[METRICS].body, bytes, size);
    if (fetch->lines.page_bytes == 0) fetch->page.mono_ns = weir_mono_ns(&weir_clock_system);
    fetch->broken = fetch->broken || !weir_exposition_feed(&fetch->lines, bytes, size) || fetch->page.no_memory;
    return fetch->broken ? 0 : size;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *self) {
    struct weir_buffer *body = self;
    (void)one;
    body->limit = BODY_BYTES_MAX;
    weir_buffer_put(body, bytes, size);
    return body->failed ? 0 : size;
}

struct weir_top_fetch *weir_top_fetch_new(const struct weir_ask *ask, struct weir_names *names) {
    struct weir_top_fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL) return NULL;
    fetch->ask = ask;
    fetch->names = fetch->page.names = names;
    fetch->multi = curl_multi_init();
    if (fetch->multi != NULL) return fetch;
    free(fetch);
    return NULL;
}

static void end(struct weir_top_fetch *fetch) {
    for (int i = 0; i < PARTS; i++) {
        struct part *part = &fetch->parts[i];
        if (part->easy != NULL) {
            curl_multi_remove_handle(fetch->multi, part->easy);
            curl_easy_cleanup(part->easy);
        }
        curl_slist_free_all(part->headers);
        weir_buffer_free(&part->body);
        *part = (struct part){0};
    }
    weir_exposition_free(&fetch->lines);
    weir_top_page_clear(&fetch->page);
    fetch->lines = (struct weir_exposition){.take = weir_top_page_take, .self = &fetch->page};
    fetch->busy = fetch->broken = false;
}

bool weir_top_fetch_start(struct weir_top_fetch *fetch, struct weir_error *err) {
    if (fetch->busy) return false;
    end(fetch);
    for (int i = 0; i < PARTS; i++) {
        struct part *part = &fetch->parts[i];
        part->easy = weir_ask_easy(fetch->ask, paths[i], &part->headers, err);
        if (part->easy == NULL) {
            end(fetch);
            return false;
        }
        curl_easy_setopt(part->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
        curl_easy_setopt(part->easy, CURLOPT_ERRORBUFFER, part->why);
        curl_easy_setopt(part->easy, CURLOPT_PRIVATE, part);
        curl_easy_setopt(part->easy, CURLOPT_WRITEFUNCTION, i == METRICS ? on_page : on_body);
        curl_easy_setopt(part->easy, CURLOPT_WRITEDATA, i == METRICS ? (void *)fetch : (void *)&part->body);
        curl_multi_add_handle(fetch->multi, part->easy);
    }
    fetch->busy = true;
    return true;
}

bool weir_top_fetch_busy(const struct weir_top_fetch *fetch) {
    return fetch->busy;
}

void weir_top_fetch_wait(struct weir_top_fetch *fetch, const int *fds, int fd_count, int timeout_ms) {
    struct curl_waitfd wait[FDS_MAX];
    int running, left;
    if (fd_count > FDS_MAX) fd_count = FDS_MAX;
    for (int i = 0; i < fd_count; i++)
        wait[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
    curl_multi_perform(fetch->multi, &running);
    curl_multi_poll(fetch->multi, wait, (unsigned)fd_count, timeout_ms, NULL);
    curl_multi_perform(fetch->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(fetch->multi, &left)) != NULL;) {
        struct part *part = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &part);
        if (message->msg != CURLMSG_DONE || part == NULL) continue;
        part->done = true;
        part->code = message->data.result;
    }
}

/* ---- what came of it ---- */

static enum weir_status judge(struct weir_top_fetch *fetch, struct weir_error *err) {
    struct part *part = &fetch->parts[METRICS];
    long status = status_of(part->easy);
    size_t size = part->body.size;
    if (fetch->broken)
        return weir_fail(err, WEIR_INVALID, 0, true, "/metrics is longer than any page of a Weir, or memory is short");
    if (part->code != CURLE_OK)
        return weir_fail(err, WEIR_IO, 0, true, "%s", part->why[0] != 0 ? part->why : curl_easy_strerror(part->code));
    while (size > 0 && part->body.bytes[size - 1] == '\n')
        size--;
    if (status != 200)
        return weir_fail(err, WEIR_INVALID, 0, true, "/metrics answers %ld: %.*s", status, size < 80 ? (int)size : 80,
                         size == 0 ? "" : (const char *)part->body.bytes);
    if (!weir_exposition_end(&fetch->lines)) return weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory");
    if (!fetch->page.seen[WEIR_TOP_RECEIVED])
        return weir_fail(err, WEIR_INVALID, 0, true, "what answers there is no Weir: no weir_spans_received_total");
    return WEIR_OK;
}

static void take_policy(struct weir_top_fetch *fetch, struct weir_top_answered *answered) {
    const struct part *part = &fetch->parts[POLICY];
    struct weir_error ignored;
    answered->policy = (struct weir_policy_view){.names = fetch->names};
    if (part->code != CURLE_OK || status_of(part->easy) != 200) return;
    answered->has_policy =
        weir_policy_view_read(&answered->policy, part->body.bytes, part->body.size, &ignored) == WEIR_OK &&
        answered->policy.side_count > 0;
}

bool weir_top_fetch_take(struct weir_top_fetch *fetch, struct weir_top_answered *answered, struct weir_error *err) {
    *err = (struct weir_error){0};
    for (int i = 0; i < PARTS; i++) {
        if (!fetch->busy || !fetch->parts[i].done) return false;
    }
    bool ok = judge(fetch, err) == WEIR_OK;
    if (ok) {
        *answered = (struct weir_top_answered){.page = fetch->page};
        fetch->page = (struct weir_top_page){.names = fetch->names};
        answered->ready = fetch->parts[READY].code == CURLE_OK && status_of(fetch->parts[READY].easy) == 200;
        take_policy(fetch, answered);
    }
    end(fetch);
    return ok;
}

void weir_top_fetch_free(struct weir_top_fetch *fetch) {
    if (fetch == NULL) return;
    end(fetch);
    curl_multi_cleanup(fetch->multi);
    free(fetch);
}
