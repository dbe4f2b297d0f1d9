#include "collector/serve/watch.h"
#include "collector/config/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    /* Often enough that nothing between takes the stream for a dead one; 60 s are usual. */
    PULSE_SECONDS = 5,
    BLOCK_BYTES = 32 * 1024,
};

struct stream {
    struct weir_watching *watching; /* NULL: free */
    struct weir_tap *tap;
    struct MHD_Connection *connection;
    bool suspended;
    uint64_t said_ns; /* when it last said something; monotonic */
};

struct weir_watching {
    struct weir_mail poke; /* first */
    _Atomic bool poked;    /* the letter is under way */
    bool ending;
    struct weir_timer timer;
    struct weir_loop *loop;
    struct weir_taps *taps;
    void (*run)(void *self);
    void *self;
    struct stream streams[WEIR_TAPS_MAX];
};

/* ---- waking ---- */

static void resume_all(struct weir_watching *watching) {
    for (uint32_t i = 0; i < WEIR_TAPS_MAX; i++) {
        struct stream *stream = &watching->streams[i];
        if (stream->watching == NULL || !stream->suspended) continue;
        stream->suspended = false;
        MHD_resume_connection(stream->connection);
    }
}

static void poked(struct weir_mail *mail) {
    struct weir_watching *watching = (struct weir_watching *)mail;
    atomic_store(&watching->poked, false); /* before the queues are read: what comes now pokes again */
    resume_all(watching);
    watching->run(watching->self);
}

/* A lane's thread. */
static void wake(void *self) {
    struct weir_watching *watching = self;
    if (!atomic_exchange(&watching->poked, true)) weir_mailbox_post(weir_loop_mailbox(watching->loop), &watching->poke);
}

static void due(struct weir_timer *timer) {
    struct weir_watching *watching = (struct weir_watching *)((char *)timer - offsetof(struct weir_watching, timer));
    bool any = false;
    for (uint32_t i = 0; i < WEIR_TAPS_MAX; i++)
        any = any || watching->streams[i].watching != NULL;
    if (!any) return;
    weir_loop_set(watching->loop, timer, weir_loop_now(watching->loop) + WEIR_S);
    resume_all(watching);
    watching->run(watching->self);
}

/* ---- a stream ---- */

/* A client that went away would be noticed by the second line that is written to it. One that has only closed its side
 * is taken for gone too: who asks for a stream and wants it stays. */
static bool is_gone(const struct stream *stream) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(stream->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    return info != NULL && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* libmicrohttpd asks for more. */
static ssize_t read_stream(void *self, uint64_t position, char *out, size_t size) {
    struct stream *stream = self;
    struct weir_watching *watching = stream->watching;
    uint64_t now_ns = weir_loop_now(watching->loop);
    (void)position;
    if (watching->ending) return MHD_CONTENT_READER_END_OF_STREAM;
    size_t read = weir_tap_read(stream->tap, out, size);
    if (read == 0 && now_ns - stream->said_ns >= PULSE_SECONDS * WEIR_S) {
        weir_tap_pulse(stream->tap);
        read = weir_tap_read(stream->tap, out, size);
    }
    if (read > 0) {
        stream->said_ns = now_ns;
        return (ssize_t)read;
    }
    if (is_gone(stream)) return MHD_CONTENT_READER_END_WITH_ERROR;
    stream->suspended = true;
    MHD_suspend_connection(stream->connection);
    return 0;
}

static void free_stream(void *self) {
    struct stream *stream = self;
    weir_tap_close(stream->tap);
    *stream = (struct stream){0};
}

/* ---- what is asked for ---- */

struct reading {
    struct weir_tap_filter filter;
    struct weir_error *why;
    enum weir_status status;
};

static void read_name(struct reading *reading, const char *key, const char *value, char *out, size_t size) {
    if (strlen(value) < size) {
        memcpy(out, value, strlen(value) + 1);
    } else {
        reading->status = weir_fail(reading->why, WEIR_INVALID, 0, false, "%s: longer than %zu bytes", key, size - 1);
    }
}

static enum MHD_Result read_argument(void *self, enum MHD_ValueKind kind, const char *key, const char *value) {
    struct reading *reading = self;
    struct weir_tap_filter *filter = &reading->filter;
    (void)kind;
    if (value == NULL) value = "";
    if (strcmp(key, "service") == 0) {
        read_name(reading, key, value, filter->service, sizeof filter->service);
    } else if (strcmp(key, "rule") == 0) {
        read_name(reading, key, value, filter->rule, sizeof filter->rule);
    } else if (strcmp(key, "min_duration") == 0) {
        if (!weir_value_duration(value, &filter->min_duration_ns))
            reading->status = weir_fail(reading->why, WEIR_INVALID, 0, false,
                                        "min_duration: a duration with its unit is needed, as in 200ms");
    } else if (strcmp(key, "errors") == 0 || strcmp(key, "dropped") == 0) {
        bool *flag = key[0] == 'e' ? &filter->errors : &filter->dropped;
        if (*value == 0) { /* ?errors */
            *flag = true;
        } else if (!weir_value_bool(value, flag)) {
            reading->status = weir_fail(reading->why, WEIR_INVALID, 0, false, "%s: true or false", key);
        }
    } else {
        reading->status =
            weir_fail(reading->why, WEIR_INVALID, 0, false,
                      "%.40s: no such filter; there are service, rule, errors, min_duration, dropped", key);
    }
    return reading->status == WEIR_OK ? MHD_YES : MHD_NO;
}

unsigned weir_watching_open(struct weir_watching *watching, struct MHD_Connection *connection,
                            struct MHD_Response **response, struct weir_error *why) {
    struct reading reading = {.why = why};
    *response = NULL;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, read_argument, &reading);
    if (reading.status != WEIR_OK) return MHD_HTTP_BAD_REQUEST;
    struct stream *stream = NULL;
    for (uint32_t i = 0; i < WEIR_TAPS_MAX && stream == NULL; i++) {
        if (watching->streams[i].watching == NULL) stream = &watching->streams[i];
    }
    struct weir_tap *tap = NULL;
    if (stream == NULL) {
        weir_fail(why, WEIR_FULL, 0, true, "%d watch already, and more would cost too much", WEIR_TAPS_MAX);
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    if (weir_tap_open(watching->taps, &reading.filter, wake, watching, &tap, why) != WEIR_OK)
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    *stream = (struct stream){
        .watching = watching, .tap = tap, .connection = connection, .said_ns = weir_loop_now(watching->loop)};
    *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, stream, free_stream);
    if (*response == NULL) {
        free_stream(stream);
        weir_fail(why, WEIR_FULL, 0, true, "out of memory");
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    MHD_add_response_header(*response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (watching->timer.place == 0)
        weir_loop_set(watching->loop, &watching->timer, weir_loop_now(watching->loop) + WEIR_S);
    return MHD_HTTP_OK;
}

/* ---- life ---- */

struct weir_watching *weir_watching_new(struct weir_taps *taps, struct weir_loop *loop, void (*run)(void *self),
                                        void *self) {
    struct weir_watching *watching = calloc(1, sizeof *watching);
    if (watching == NULL) return NULL;
    watching->poke.deliver = poked;
    watching->timer.fire = due;
    watching->loop = loop;
    watching->taps = taps;
    watching->run = run;
    watching->self = self;
    return watching;
}

void weir_watching_end(struct weir_watching *watching) {
    if (watching == NULL) return;
    watching->ending = true;
    resume_all(watching);
}

void weir_watching_free(struct weir_watching *watching) {
    free(watching);
}
