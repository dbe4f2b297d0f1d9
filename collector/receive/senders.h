/* senders.h - who sends datagrams, and which of theirs did not come: sequence numbers, one window a run of a sender.
 *
 *     taken or counted ...        │ 63 │ ... │ 2 │ 1 │ 0 = the highest number heard
 *                                 └──── seen, closed: one bit each ────┘
 *
 * A number that is missing is a hole. A datagram that fills it came out of order. A hole that leaves the window, or is
 * older than one or two ticks, or belongs to a sender that is forgotten, is counted lost, once; what comes for it
 * later is `late`, so that lost - late is what never came. The first number heard of a run begins its window: what was
 * sent before Weir listened is no loss. A sender that starts again does so under a new start time, with a window of its
 * own; the old one stays until it expires, for what was still under way.
 * Bounded: beyond senders_max the one that was silent for longest is forgotten. One thread. Time is the caller's. */
#ifndef WEIR_RECEIVE_SENDERS_H
#define WEIR_RECEIVE_SENDERS_H
#include <stdbool.h>
#include <stdint.h>

enum { WEIR_SENDER_WINDOW = 64 };
/* A number so far ahead is no loss but another count: the window begins again. At a million datagrams a second it is
 * more than an hour's. */
#define WEIR_SENDER_JUMP_MAX (1ull << 32)

struct weir_senders;

struct weir_senders_counts {
    uint64_t lost, reordered, late, duplicate;
    uint64_t evicted; /* forgotten for want of room */
    uint32_t senders; /* now */
};

/* What a receiver writes down of a sender, all 0 at first. */
struct weir_sender_note {
    uint64_t answers_ns;           /* when all its answers so far are made up for: receive/asks.c */
    uint64_t version, followed_ns; /* the policy that it was last taken to follow, and when that was said */
    uint32_t service;              /* likewise */
};

enum weir_sender_verdict {
    WEIR_SENDER_TAKE,
    WEIR_SENDER_DUPLICATE, /* it was taken before */
    WEIR_SENDER_BEHIND,    /* before the window: taken before or counted lost, nobody knows which; not to be taken */
};

/* seed: anything that senders cannot know. NULL: out of memory. */
struct weir_senders *weir_senders_new(uint32_t senders_max, uint64_t expiry_ns, uint64_t seed);
void weir_senders_set_expiry(struct weir_senders *senders, uint64_t expiry_ns);
/* A datagram of `sender`, of the run that began at start_ns; sequence >= 1. */
enum weir_sender_verdict weir_senders_hear(struct weir_senders *senders, uint64_t sender, uint64_t start_ns,
                                           uint64_t sequence, uint64_t now_ns);
/* Of the sender that was heard last, until another is; somebody was heard. */
struct weir_sender_note *weir_senders_note(struct weir_senders *senders);
/* Counts the holes that were there at the tick before, and forgets who was silent for too long. Returns how long the
 * next tick may wait, at least tick_ns; 0: there is nobody to wait for. */
uint64_t weir_senders_tick(struct weir_senders *senders, uint64_t now_ns, uint64_t tick_ns);
/* Counts all holes: nothing more will come. */
void weir_senders_settle(struct weir_senders *senders);
const struct weir_senders_counts *weir_senders_counts(const struct weir_senders *senders);
void weir_senders_free(struct weir_senders *senders); /* accepts NULL */
#endif
