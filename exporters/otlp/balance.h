/* balance.h - which endpoint is to be asked: its breaker, and the order in which a trace asks them. Pure. */
#ifndef WEIR_EXPORTERS_OTLP_BALANCE_H
#define WEIR_EXPORTERS_OTLP_BALANCE_H
#include "collector/config/config.h"

/* Closed: requests go there. Open: none does, until it is time for one that tries. */
struct weir_otlp_breaker {
    bool open, trying;
    uint32_t failures; /* in a row */
    uint64_t try_ns;   /* open: when one may try */
};

bool weir_otlp_breaker_lets(const struct weir_otlp_breaker *breaker, uint64_t now_ns);
void weir_otlp_breaker_sent(struct weir_otlp_breaker *breaker); /* a request went there, whatever the breaker says */
void weir_otlp_breaker_good(struct weir_otlp_breaker *breaker); /* it answered: closed */
/* It did not, or said that it cannot. Opens for a time that doubles from initial_ns to max_ns; of that, a share of the
 * upper half by `random`. What was under way while it opened does not make it longer. True: it has just opened. */
bool weir_otlp_breaker_bad(struct weir_otlp_breaker *breaker, uint64_t now_ns, uint64_t initial_ns, uint64_t max_ns,
                           uint64_t random);

/* Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): a trace asks
 * endpoints in the order of a hash of both, so that one that goes or comes moves no trace but its own. */
uint64_t weir_otlp_seed(const char *name); /* of an endpoint: the same wherever it is written the same */
/* order[0..count): indices of seeds, the first choice first. count <= WEIR_ENDPOINTS_MAX. trace: the low 64 bits. */
void weir_otlp_rank(const uint64_t *seeds, uint32_t count, uint64_t trace, uint8_t *order);
#endif
