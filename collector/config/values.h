/* values.h - what people write into a configuration, as numbers: sizes, durations, shares, addresses; and back.
 * All read the whole text or answer false and leave *out as it was. Pure. */
#ifndef WEIR_CONFIG_VALUES_H
#define WEIR_CONFIG_VALUES_H
#include "collector/config/config.h"

/* 1500, 64KiB, 10GiB (powers of 1024), 5MB (powers of 1000), 1.5GiB. */
bool weir_value_bytes(const char *text, uint64_t *out);
/* 750ms, 1s, 1.5s, 10m, 1h30m; also us and ns. A unit is needed, also for 0: "5" could be anything. */
bool weir_value_duration(const char *text, uint64_t *out_ns);
/* 42, 100_000, -3. */
bool weir_value_integer(const char *text, int64_t *out);
/* A share of 0 to 1: 0.1, 1, "10%". A bare 10 is refused, since nobody can say whether it is ten or all. */
bool weir_value_ratio(const char *text, double *out);
bool weir_value_number(const char *text, double *out); /* finite decimal */
bool weir_value_bool(const char *text, bool *out);     /* true, false */
/* host:port, [::1]:4317, :port (then on default_host), off. Leaves `asked` and `line`. */
bool weir_value_listen(const char *text, const char *default_host, struct weir_listen *out);
/* A numeric IPv4 or IPv6 address without brackets, or a name, that fits weir_listen.host. */
bool weir_value_host(const char *text);

/* The shortest of the forms above that reads back as the same number. */
void weir_value_print_bytes(uint64_t bytes, char *out, size_t out_size);
void weir_value_print_duration(uint64_t ns, char *out, size_t out_size);
#endif
