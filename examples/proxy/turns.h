/* turns.h - what telling costs, measured within one process and one stream of requests: they are told and not told by
 * turns, and the thread that serves them reads its CPU time at each end of one.
 *
 *   not told | told | told | not told    a block: what drifts with time drifts for both alike
 *
 * A turn is a few milliseconds, so that also what is done beside on the machine is in both alike. One thread. */
#ifndef PROXY_TURNS_H
#define PROXY_TURNS_H
#include "examples/proxy/telemetry.h"

struct turns {
    uint32_t requests;       /* of a turn; 0: nothing is measured */
    uint64_t done;           /* requests that are over; whoever ends one counts it here */
    uint64_t began;          /* of them, when the turn began, */
    uint64_t began_ns;       /* and the CPU time of the thread */
    unsigned turn;           /* 0 to 3 */
    bool warm;               /* the first block is over: it is not counted */
    uint64_t ns[2], over[2]; /* of the block: CPU and requests, not told and told */
    uint64_t blocks;
    double plain_us;        /* sums over the blocks, for a request: when it is not told, */
    double added_us;        /* what telling adds, */
    double added_square_us; /* and its square */
};

/* The thread that serves begins. */
void turns_begin(struct turns *turns, struct telemetry *telemetry);
void turns_step(struct turns *turns, struct telemetry *telemetry); /* some requests may be over */
void turns_tell(const struct turns *turns, FILE *out);             /* as a line of JSON */
#endif
