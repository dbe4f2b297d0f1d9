/* statsd.h - StatsD and DogStatsD lines into points.
 *   name:value[:value...]|type[|@rate][|#tag:value,...][|c:container][|T<unix seconds>]      type: c g ms h d s
 * Sources: statsd docs/metric_types.md; DogStatsD datagram format 1.0-1.3 (docs.datadoghq.com, datagram_shell); of
 * later ones the sections |e: and |card: are understood and say nothing about the series. As statsd_exporter does: a
 * tag without a value is left out, a container becomes the label container_id, timers become seconds, a rate on a gauge
 * means nothing. Unlike it: a rate on a timer is a weight, a bad rate refuses the line. */
#ifndef WEIR_DECODE_STATSD_H
#define WEIR_DECODE_STATSD_H
#include "collector/core/names.h"
#include "collector/core/point.h"

#include <stddef.h>

enum weir_statsd_refusal {
    WEIR_STATSD_NO_VALUE,    /* no colon, or nothing behind it */
    WEIR_STATSD_BAD_NAME,    /* empty, not UTF-8, with a | in it, or longer than WEIR_METRIC_NAME_BYTES_MAX */
    WEIR_STATSD_BAD_VALUE,   /* not a finite number */
    WEIR_STATSD_NEGATIVE,    /* a counter that goes down: Prometheus would take it for a restart */
    WEIR_STATSD_BAD_TYPE,    /* none of c g ms h d s */
    WEIR_STATSD_BAD_RATE,    /* not in (0, 1] */
    WEIR_STATSD_BAD_TAG,     /* not UTF-8, a value without a name, a name too long, too many tags */
    WEIR_STATSD_BAD_SECTION, /* an unknown, empty or doubled section, a time that is no number */
    WEIR_STATSD_EVENT,       /* _e{ or _sc|: events and service checks are not series */
    WEIR_STATSD_REFUSALS,
};
extern const char *const weir_statsd_refusal_names[WEIR_STATSD_REFUSALS];

/* What one lane's decoder keeps between lines: canonical keys of the lines seen last, by the hash of their raw name and
 * tags, so that a known line costs one hash each. Bounded (4 MiB, when every entry is of the longest kind); one thread.
 */
struct weir_statsd;
struct weir_statsd *weir_statsd_new(const struct weir_names *names, uint32_t label_value_bytes_max);
void weir_statsd_free(struct weir_statsd *statsd);

struct weir_statsd_calls {
    void *self;
    void (*point)(void *self, const struct weir_point *point); /* key valid during the call */
    void (*refused)(void *self, enum weir_statsd_refusal reason);
};
/* Who sent it, for the label `source`, which wins over a tag of that name. */
struct weir_statsd_source {
    const char *address;  /* NULL: no such label */
    bool prefer_host_tag; /* the value of the line's tag `host`, where it has one */
};
/* One datagram: lines split by \n, an empty line is skipped, a bad line is refused and its neighbours are kept. Packed
 * values make a point each; one bad value refuses its line. Returns the number of lines that were not empty. */
size_t weir_statsd_decode(struct weir_statsd *statsd, const uint8_t *bytes, size_t size,
                          struct weir_statsd_source source, const struct weir_statsd_calls *calls);
#endif
