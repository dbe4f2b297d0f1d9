/* steering.h - the board between whoever makes plans and whoever tells them: the plans in force, and who follows which.
 * One a process; any thread.
 *
 *   steer/ (a thread) ─ publish ─> board ─ letter ─> lanes ─> RTDS streams
 *                                    │  ^
 *     /sampling, gRPC, files ─ plan ─┘  └─ told, acked ─ the same: followers and what they had since when
 *                                    └─ prior ─> lanes: what a span of a follower stands for
 *
 * A follower is a proxy that is known by name (Envoy's node.id, a datagram's sender), or all clients of a service that
 * ask from one address (Jaeger's clients do not say who they are). Bounded: beyond WEIR_FOLLOWERS_MAX the one that was
 * silent for longest is forgotten. */
#ifndef WEIR_SAMPLE_STEERING_H
#define WEIR_SAMPLE_STEERING_H
#include "collector/core/buffer.h"
#include "collector/core/clock.h"
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/sample/plan.h"

enum { WEIR_FOLLOWERS_MAX = 4096, WEIR_FOLLOWER_HISTORY = 32 /* plans back: late spans are of seconds ago */ };

enum weir_follow_way {
    WEIR_FOLLOW_RTDS, /* confirms what it has taken */
    WEIR_FOLLOW_POLL, /* Jaeger's clients: asks now and then */
    WEIR_FOLLOW_DATAGRAM,
    WEIR_FOLLOW_FILE, /* a file was rendered; nobody knows who reads it */
    WEIR_FOLLOW_WAYS
};
extern const char *const weir_follow_way_names[WEIR_FOLLOW_WAYS];

enum weir_side { WEIR_SIDE_POLICY, WEIR_SIDE_CANARY, WEIR_SIDES };

struct weir_steering;

/* NULL: out of memory. */
struct weir_steering *weir_steering_new(struct weir_names *names, struct weir_metrics *metrics,
                                        const struct weir_clock *clock);
/* The plans from now on; NULL: proxies are told nothing. Keeps references of its own. canary: for followers whose hash
 * falls into `share`; NULL: none. Lanes are told by letter when what anybody is told has changed. trust_pollers: of the
 * file. */
void weir_steering_publish(struct weir_steering *steering, const struct weir_plan *plan, const struct weir_plan *canary,
                           double share, bool trust_pollers, const struct weir_proxies *proxies);
/* `nodes:` of the canary's file, for those that follow it; to be said before its plan is. NULL: none. */
void weir_steering_set_canary_nodes(struct weir_steering *steering, const struct weir_proxies *proxies);
/* For one follower, a reference that the caller gives back; NULL: told nothing. `side` may be NULL. */
const struct weir_plan *weir_steering_plan(struct weir_steering *steering, const void *id, size_t id_size,
                                           enum weir_side *side);
/* The service that an Envoy's node is of: by `nodes:` of the file that it follows, else the service of its cluster's
 * name. WEIR_NAME_NONE: none has that name, and the default is its. */
uint32_t weir_steering_service_of(struct weir_steering *steering, const char *node_id, const char *cluster);

/* A listener is told when another plan is in force: `mail` is posted to `loop`, again only after
 * weir_steering_heard(). */
struct weir_steering_ear {
    struct weir_mail mail; /* deliver is the owner's */
    struct weir_steering_ear *next;
    struct weir_loop *loop;
    _Atomic bool posted;
};
void weir_steering_listen(struct weir_steering *steering, struct weir_steering_ear *ear);
void weir_steering_heard(struct weir_steering_ear *ear); /* at the beginning of deliver */
/* False: a letter is under way; it is delivered yet, and the ear may be freed then and not before. */
bool weir_steering_unlisten(struct weir_steering *steering, struct weir_steering_ear *ear);

/* ---- followers ---- */

struct weir_follower {
    enum weir_follow_way way;
    const char *id; /* what it is known by: node.id; the address it asks from; the sender in hex */
    uint32_t service;
};
/* It was handed this (pushed, or fetched). A poller has taken it thereby. `plan` is of weir_steering_plan(). */
void weir_steering_told(struct weir_steering *steering, const struct weir_follower *follower,
                        const struct weir_plan *plan);
/* It confirms the version that it was told last; or refuses it. reason: its own words, or NULL for taken. */
void weir_steering_answered(struct weir_steering *steering, const struct weir_follower *follower, uint64_t version,
                            const char *reason);
/* It came with a rate that it has already, of a process before this one: RTDS says it of each first request whose
 * version tells a rate, whether or not it is what the plan says. Its spans are weighed by that rate until it takes
 * another. */
void weir_steering_has(struct weir_steering *steering, const struct weir_follower *follower, double rate,
                       uint64_t version);
/* It came with nothing that was told to it, and has no other connection: another process of that name, with a
 * configuration of its own. From now on nobody knows what its spans stand for, until it takes something. Where it has
 * another, who only looks by that name changes nothing. */
void weir_steering_has_nothing(struct weir_steering *steering, const struct weir_follower *follower);
/* While this process is young and works rates out itself, whoever came with a rate of its own is not told another: the
 * controller takes that rate up first (weir_steering_take_adopted), and so the plan soon says the same. What differs
 * then is told when the letter of the next plan comes, which is sent at the latest when this turns false. */
bool weir_steering_settling(const struct weir_steering *steering);
void weir_steering_set_settling(struct weir_steering *steering, bool settling); /* turning false posts to all ears */
/* Rates that followers came with since the call before, their mean service by service. `adopt` calls nothing of the
 * board. */
void weir_steering_take_adopted(struct weir_steering *steering,
                                void (*adopt)(void *self, uint32_t service, double rate), void *self);
/* It says itself that it follows what has this version: a plan's, or that of what one service is told. False: no plan
 * of that version is remembered. */
bool weir_steering_follows(struct weir_steering *steering, const struct weir_follower *follower, uint64_t version);
/* It asks what to follow, by the datagram of this number of the run that began at start_ns. False: it asked by this or
 * by a later one before, whichever lane that came to: this is a copy, or was overtaken. Whether an answer is heard and
 * followed it says itself, as above. */
bool weir_steering_asks(struct weir_steering *steering, const struct weir_follower *follower, uint64_t start_ns,
                        uint64_t sequence);
/* It has a connection more, and one less: a proxy that comes again may be there by its next one, on another lane,
 * before the last is found to be broken. Without any it is gone, as is who never came; what it had is remembered: spans
 * of it are still on their way. */
void weir_steering_came(struct weir_steering *steering, const struct weir_follower *follower);
void weir_steering_gone(struct weir_steering *steering, const struct weir_follower *follower);

/* 1/p by which the sampler of the proxy that began this trace let it through; 0: no follower is known to have done so.
 *   node       Envoy's node_id in the span, or NULL: one of the clients that poll, where those are trusted; clients of
 *              one service that have different rates then count alike
 *   start_ns   when its root began, Unix: the rate that was in force then counts */
double weir_steering_prior(struct weir_steering *steering, uint32_t service, uint32_t operation, const char *node,
                           size_t node_size, uint64_t start_ns);
/* The same by what its sender says that it follows: of the plan, or of what one service is told, with this version. */
double weir_steering_prior_of(struct weir_steering *steering, uint64_t version, uint32_t service, uint32_t operation);
/* Is this an Envoy that may yet say what it has? In the first 30 s of a process that tells proxies something those are
 * not all connected again, and their spans come first. */
bool weir_steering_expects(struct weir_steering *steering, const char *node, size_t node_size);
/* How many said so, since the beginning: whoever waits for one looks again when it changed. Also ends those 30 s. */
uint32_t weir_steering_arrivals(struct weir_steering *steering);
/* May there be spans of somebody that follows? Then they may be weighed by weir_steering_prior(), or by what clients
 * that were told a rate write into their roots. One load; asked for each batch. */
bool weir_steering_followed(const struct weir_steering *steering);
/* Live proxies of a service that follow, of those ways that are proxies one by one; the sum over ways. */
uint32_t weir_steering_senders(struct weir_steering *steering, uint32_t service);
/* Do live ones follow, and all of them over RTDS? Then no operation has a rate of its own. */
bool weir_steering_common(struct weir_steering *steering, uint32_t service);

/* Forgets who is gone for an hour, and what others had more than ten minutes ago and not since: with them go the plans
 * of that time. About once a second. */
void weir_steering_tidy(struct weir_steering *steering);

/* Followers as JSON, for the admin's /policy: a list of
 * {"way","id","service","side","state","version","rate","since","reason"}, the last four where they are known. */
void weir_steering_write(struct weir_steering *steering, struct weir_buffer *out);
void weir_steering_free(struct weir_steering *steering); /* accepts NULL */
#endif
