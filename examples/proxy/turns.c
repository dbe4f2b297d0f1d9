#include "examples/proxy/turns.h"

#include <math.h>
#include <time.h>

enum { TURNS = 4 };

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void turns_begin(struct turns *turns, struct telemetry *telemetry) {
    if (turns->requests == 0) return;
    telemetry_turn(telemetry); /* off */
    turns->began_ns = cpu_ns();
}

static void end_block(struct turns *turns) {
    double plain = (double)turns->ns[0] / (double)turns->over[0] / 1000;
    double added = (double)turns->ns[1] / (double)turns->over[1] / 1000 - plain;
    for (unsigned told = 0; told < 2; told++)
        turns->ns[told] = turns->over[told] = 0;
    turns->turn = 0;
    if (turns->warm) {
        turns->blocks++;
        turns->plain_us += plain;
        turns->added_us += added;
        turns->added_square_us += added * added;
    }
    turns->warm = true;
}

void turns_step(struct turns *turns, struct telemetry *telemetry) {
    if (turns->requests == 0 || turns->done - turns->began < turns->requests) return;
    bool told = turns->turn == 1 || turns->turn == 2;
    turns->ns[told] += cpu_ns() - turns->began_ns;
    turns->over[told] += turns->done - turns->began;
    turns->turn++;
    if (turns->turn == 1 || turns->turn == 3) telemetry_turn(telemetry);
    if (turns->turn == TURNS) end_block(turns);
    turns->began = turns->done;
    turns->began_ns = cpu_ns();
}

void turns_tell(const struct turns *turns, FILE *out) {
    double count = (double)turns->blocks;
    if (turns->blocks < 2) return;
    double mean = turns->added_us / count;
    double variance = (turns->added_square_us - count * mean * mean) / (count - 1);
    fprintf(out, "{\"blocks\": %llu, \"plain_us\": %.4f, \"added_us\": %.4f, \"error_us\": %.4f}\n",
            (unsigned long long)turns->blocks, turns->plain_us / count, mean,
            sqrt(variance > 0 ? variance / count : 0));
}
