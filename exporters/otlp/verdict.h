/* verdict.h - what an answer to an export means. Sources: OTLP specification 1.9, "OTLP/gRPC Response", "Failures",
 * "OTLP/gRPC Throttling", "OTLP/HTTP Response"; grpc statuscodes.md. Pure. */
#ifndef WEIR_EXPORTERS_OTLP_VERDICT_H
#define WEIR_EXPORTERS_OTLP_VERDICT_H
#include "collector/config/config.h"
#include "collector/rpc/answer.h"

enum weir_otlp_outcome {
    WEIR_OTLP_DELIVERED,
    WEIR_OTLP_PARTIAL,          /* delivered but for `rejected` spans */
    WEIR_OTLP_UNREADABLE,       /* accepted, in words that cannot be read */
    WEIR_OTLP_REJECTED,         /* never, and not elsewhere */
    WEIR_OTLP_TOO_LARGE,        /* in smaller requests */
    WEIR_OTLP_ENCODING_REFUSED, /* compressed in another way */
    WEIR_OTLP_THROTTLED,        /* later */
    WEIR_OTLP_UNAVAILABLE,      /* elsewhere or later */
    WEIR_OTLP_NOT_ALLOWED,      /* likewise: who asks, or what is there, is not what was meant */
    WEIR_OTLP_UNREACHABLE,      /* likewise: no answer */
    WEIR_OTLP_TIMED_OUT,        /* likewise */
    WEIR_OTLP_OUTCOMES,
};

struct weir_otlp_verdict {
    enum weir_otlp_outcome outcome;
    uint64_t rejected;       /* spans, of a partial success */
    uint64_t retry_after_ns; /* what the peer asked for; 0 = nothing */
    char why[280];           /* for the log, where it was not delivered whole, or came with a warning */
};

/* Of a stream that ended with an answer. encoding: of the request. */
void weir_otlp_verdict_grpc(struct weir_rpc_answer *answer, enum weir_otlp_encoding encoding,
                            struct weir_otlp_verdict *verdict);
/* answer->http_status and what was kept of the body. type: Content-Type, NULL when none came; retry_after_s: 0 = not
 * said. */
void weir_otlp_verdict_http(struct weir_rpc_answer *answer, const char *type, uint64_t retry_after_s,
                            enum weir_otlp_encoding encoding, struct weir_otlp_verdict *verdict);
/* Whether other endpoints should be asked. */
bool weir_otlp_outcome_is_bad(enum weir_otlp_outcome outcome);
#endif
