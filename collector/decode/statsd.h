/* statsd.h - StatsD and DogStatsD lines into points.
 *   name:value[:value...]|type[|@rate][|#tag:value,...][|c:container][|T<unix seconds>]      type: c g ms h d s
 * Sources: statsd docs/metric_types.md; DogStatsD datagram format 1.0-1.3 (docs.datadoghq.com, datagram_shell). */
#ifndef WEIR_DECODE_STATSD_H
#define WEIR_DECODE_STATSD_H
#include "collector/core/names.h"
#include "collector/core/point.h"

#include <stddef.h>

enum weir_statsd_refusal {
    WEIR_STATSD_NO_VALUE,    /* no colon, or nothing behind it */
    WEIR_STATSD_BAD_NAME,    /* empty, or not UTF-8 */
    WEIR_STATSD_BAD_VALUE,   /* not a finite number */
    WEIR_STATSD_BAD_TYPE,    /* none of c g ms h d s */
    WEIR_STATSD_BAD_RATE,    /* not in (0, 1] */
    WEIR_STATSD_BAD_TAG,     /* not UTF-8, or no name */
    WEIR_STATSD_BAD_SECTION, /* an unknown or doubled section */
    WEIR_STATSD_EVENT,       /* _e{ or _sc|: events and service checks are not series */
    WEIR_STATSD_REFUSALS,
};
extern const char *const weir_statsd_refusal_names[WEIR_STATSD_REFUSALS];

/* What one lane's decoder keeps between lines: canonical keys of the lines seen last, by the hash of their raw name and
 * tags, so that a known line costs one hash. Bounded; one thread. */
struct weir_statsd;
struct weir_statsd *weir_statsd_new(const struct weir_names *names, uint32_t label_value_bytes_max);
void weir_statsd_free(struct weir_statsd *statsd);

struct weir_statsd_calls {
    void *self;
    void (*point)(void *self, const struct weir_point *point); /* key valid during the call */
    void (*refused)(void *self, enum weir_statsd_refusal reason);
};
/* One datagram: lines split by \n, an empty line is skipped, a bad line is refused and its neighbours are kept. Packed
 * values make a point each. `source` (may be NULL) becomes the label source="...". Timers become seconds. */
void weir_statsd_decode(struct weir_statsd *statsd, const uint8_t *bytes, size_t size, const char *source, const struct weir_statsd_calls *calls);
#endif
