/* followers.h - who follows a plan, and what each of them had since when: the table behind the board (steering.h, which
 * locks it). Bounded: who was silent for longest gives way, those that are connected last. */
#ifndef WEIR_SAMPLE_FOLLOWERS_H
#define WEIR_SAMPLE_FOLLOWERS_H
#include "collector/sample/steering.h"

/* What one of them took. */
struct weir_taken {
    uint64_t since_unix_ns;       /* 0: since always */
    uint64_t version;             /* of what its service is told (weir_plan_service.version) */
    const struct weir_plan *plan; /* a reference; NULL: `rate` is what it has */
    double rate;                  /* below 0: what it has is not known */
};

enum { WEIR_FOLLOWER_ID_MAX = 256, WEIR_FOLLOWER_REASON_MAX = 128 };

struct weir_followed {
    struct weir_followed *next_of_id, **id_slot;           /* of one bucket */
    struct weir_followed *next_of_service, **service_slot; /* likewise */
    struct weir_followed *older, *newer;                   /* by when they were heard of */
    enum weir_follow_way way;
    uint32_t service;
    uint64_t hash, heard_unix_ns;
    bool connected, gone;
    uint64_t asked_start_ns, asked_sequence;        /* the newest datagram by which it asked */
    uint32_t connections;                           /* of those that say when they come */
    bool adopted;                                   /* it came with its first rate, which nobody has asked for yet */
    const struct weir_plan *told;                   /* handed over, not confirmed; a reference, or NULL */
    struct weir_taken taken[WEIR_FOLLOWER_HISTORY]; /* the newest last */
    uint32_t taken_count;
    char reason[WEIR_FOLLOWER_REASON_MAX]; /* why it refused; "" = it did not */
    size_t id_size;
    char id[];
};

struct weir_followers {
    const struct weir_names *names;
    struct weir_followed **ids, **services; /* buckets */
    struct weir_followed *oldest, *newest;
    uint32_t count, taken_count[WEIR_FOLLOW_WAYS]; /* those that have taken something */
    uint64_t forgotten;
};

bool weir_followers_open(struct weir_followers *followers, const struct weir_names *names); /* false: no memory */
void weir_followers_close(struct weir_followers *followers);
/* Is known by way and id; of ways whose id is no one proxy's also by service. NULL: is not known. */
struct weir_followed *weir_followers_find(const struct weir_followers *followers, enum weir_follow_way way,
                                          uint32_t service, const void *id, size_t id_size);
/* The same, new when it was not known, and heard of just now. NULL: out of memory. */
struct weir_followed *weir_followers_heard(struct weir_followers *followers, const struct weir_follower *who,
                                           uint64_t now_unix_ns);
/* The first of a service; the others by weir_followers_next(). */
struct weir_followed *weir_followers_first(const struct weir_followers *followers, uint32_t service);
struct weir_followed *weir_followers_next(const struct weir_followed *followed);
void weir_followers_forget(struct weir_followers *followers, struct weir_followed *followed);

/* From `since` on it has this; nothing new where that is what it had. */
void weir_followed_take(struct weir_followers *followers, struct weir_followed *followed,
                        const struct weir_taken *taken);
/* What it had before that moment, and not since, is forgotten: each entry may hold a plan of its own. */
void weir_followed_forget(struct weir_followed *followed, uint64_t before_unix_ns);
/* Holds a reference to what it was told; NULL: nothing is under way. */
void weir_followed_tell(struct weir_followed *followed, const struct weir_plan *plan);
/* What it had at that moment; NULL: not known. */
const struct weir_taken *weir_followed_at(const struct weir_followed *followed, uint64_t unix_ns);
/* The newest; NULL: nothing yet. */
const struct weir_taken *weir_followed_has(const struct weir_followed *followed);
#endif
