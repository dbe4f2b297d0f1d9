/* receiver.h - what makes batches. One instance a lane, on that lane's loop and thread; instances of one receiver share
 * their port by SO_REUSEPORT. open() is called on the main thread before the lanes start; start, stop, close on the
 * lane's thread (close after stop; also on the main thread when the lanes never ran). */
#ifndef WEIR_RECEIVE_RECEIVER_H
#define WEIR_RECEIVE_RECEIVER_H
#include "collector/config/config.h"
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/core/sink.h"

struct weir_steering;

struct weir_receiver_env {
    uint32_t lane, lanes;
    struct weir_loop *loop;
    struct weir_sink sink;
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    struct weir_steering *steering; /* what proxies are told (sample/steering.h); NULL: nothing */
};

struct weir_receiver {
    const char *name; /* the key under receivers: */
    /* Validates, binds, allocates; on failure *self stays NULL and err says why. Starts nothing. */
    enum weir_status (*open)(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                             struct weir_error *err);
    enum weir_status (*start)(void *self, struct weir_error *err);
    /* A new configuration snapshot; takes what it can change live. Lane's thread. May be NULL. */
    void (*reload)(void *self, const struct weir_config *config);
    /* No new work; what is under way is finished (gRPC: GOAWAY). idle() turns true when it is. */
    void (*stop)(void *self);
    bool (*idle)(void *self);
    void (*close)(void *self); /* accepts NULL */
};

extern const struct weir_receiver weir_receive_grpc;
extern const struct weir_receiver weir_receive_statsd;
extern const struct weir_receiver weir_receive_datagram;
extern const struct weir_receiver weir_receive_otlp_http;
extern const struct weir_receiver weir_receive_zipkin;
extern const struct weir_receiver weir_receive_access_log;
extern const struct weir_receiver weir_receive_scribe;
extern const struct weir_receiver weir_receive_sampling; /* brings nothing: it answers what clients are to sample */
#endif
