/* own.h - what a span that came from a Zipkin client says in attributes, because OTLP has no field for it, back in its
 * own place. collector/decode/zipkin_inside.h writes it; docs/zipkin.md has the table. */
#ifndef WEIR_EXPORTERS_ZIPKIN_OWN_H
#define WEIR_EXPORTERS_ZIPKIN_OWN_H
#include "exporters/zipkin/map.h"

/* Is this the InstrumentationScope of such spans? */
bool weir_zipkin_own_scope(struct weir_zipkin_text name);

struct weir_zipkin_own { /* zeroed before a span's first attribute */
    uint8_t behind;      /* the mark that was passed: keys behind it are an endpoint's, not tags */
};

/* `type`: the number of the value's field in AnyValue; `number`: the value of an int, 1 of true. False: it is a tag. */
bool weir_zipkin_own_take(struct weir_zipkin_own *own, struct weir_zipkin_text key, struct weir_zipkin_text value,
                          unsigned type, uint64_t number, struct weir_zipkin_span *span);
#endif
