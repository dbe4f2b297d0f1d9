/* steering_prior.c - what a span of a follower stands for, and who may yet turn out to be one. Asked by lanes. */
#include "collector/sample/steering_inside.h"

enum { POLLERS_ASKED = 256 /* of one service, for one answer */ };

static double rate_of(const struct weir_taken *taken, uint32_t service, uint32_t operation) {
    if (taken->plan == NULL) return taken->rate;
    const struct weir_plan_service *told = weir_plan_find(taken->plan, service);
    /* Clients that were told a limit have no rate. */
    if (told->max_traces_per_second >= 0 && told->operation_count == 0) return 0;
    return weir_plan_rate_of(told, operation)->rate;
}

/* A span does not say which of the clients began its trace. Those that offer alike let through traces as their rates
 * are, so that such a trace stands for 1 / the mean of these. */
static double prior_of_pollers(const struct weir_steering *steering, uint32_t service, uint32_t operation,
                               uint64_t unix_ns) {
    double sum = 0;
    uint32_t count = 0, asked = 0;
    for (const struct weir_followed *followed = weir_followers_first(&steering->followers, service);
         followed != NULL && asked < POLLERS_ASKED; followed = weir_followers_next(followed)) {
        /* A file says nothing: who reads it may have to be restarted first, and most of them have one rate for all. */
        if (followed->way != WEIR_FOLLOW_POLL) continue;
        asked++;
        const struct weir_taken *taken = weir_followed_at(followed, unix_ns);
        if (taken == NULL || weir_steering_is_gone(steering, followed, unix_ns)) continue;
        sum += rate_of(taken, service, operation);
        count++;
    }
    return sum > 0 ? (double)count / sum : 0;
}

static double prior_of_node(const struct weir_steering *steering, const char *node, size_t node_size,
                            uint64_t unix_ns) {
    const struct weir_followed *followed =
        weir_followers_find(&steering->followers, WEIR_FOLLOW_RTDS, WEIR_NAME_NONE, node, node_size);
    const struct weir_taken *taken = followed != NULL ? weir_followed_at(followed, unix_ns) : NULL;
    return taken != NULL && taken->rate > 0 ? 1 / taken->rate : 0;
}

double weir_steering_prior(struct weir_steering *steering, uint32_t service, uint32_t operation, const char *node,
                           size_t node_size, uint64_t start_ns) {
    double prior = 0;
    pthread_rwlock_rdlock(&steering->lock);
    if (node != NULL)
        prior = prior_of_node(steering, node, node_size, start_ns);
    else if (steering->trust_pollers)
        prior = prior_of_pollers(steering, service, operation, start_ns);
    pthread_rwlock_unlock(&steering->lock);
    return prior;
}

double weir_steering_prior_of(struct weir_steering *steering, uint64_t version, uint32_t service, uint32_t operation) {
    double rate = 0;
    pthread_rwlock_rdlock(&steering->lock);
    const struct weir_plan *plan = weir_steering_remembered(steering, service, version);
    if (plan != NULL) rate = rate_of(&(struct weir_taken){.plan = plan}, service, operation);
    pthread_rwlock_unlock(&steering->lock);
    return rate > 0 ? 1 / rate : 0;
}

bool weir_steering_expects(struct weir_steering *steering, const char *node, size_t node_size) {
    if (!atomic_load_explicit(&steering->expecting, memory_order_relaxed)) return false;
    pthread_rwlock_rdlock(&steering->lock);
    const struct weir_followed *followed =
        weir_followers_find(&steering->followers, WEIR_FOLLOW_RTDS, WEIR_NAME_NONE, node, node_size);
    bool is_here = followed != NULL && followed->taken_count > 0;
    pthread_rwlock_unlock(&steering->lock);
    return !is_here;
}

uint32_t weir_steering_arrivals(struct weir_steering *steering) {
    uint32_t arrivals = atomic_load_explicit(&steering->arrivals, memory_order_acquire);
    if (!atomic_load_explicit(&steering->expecting, memory_order_relaxed) || weir_steering_is_young(steering))
        return arrivals;
    atomic_store_explicit(&steering->expecting, false, memory_order_relaxed);
    return atomic_fetch_add_explicit(&steering->arrivals, 1, memory_order_acq_rel) + 1; /* nobody is expected now */
}

static bool follows(const struct weir_followed *followed) {
    const struct weir_taken *has = weir_followed_has(followed);
    return has != NULL && has->rate >= 0;
}

uint32_t weir_steering_senders(struct weir_steering *steering, uint32_t service) {
    uint64_t now = weir_unix_ns(steering->clock);
    uint32_t count = 0;
    pthread_rwlock_rdlock(&steering->lock);
    for (const struct weir_followed *followed = weir_followers_first(&steering->followers, service); followed != NULL;
         followed = weir_followers_next(followed)) {
        bool one = followed->way == WEIR_FOLLOW_RTDS || followed->way == WEIR_FOLLOW_DATAGRAM;
        if (one && follows(followed) && !weir_steering_is_gone(steering, followed, now)) count++;
    }
    pthread_rwlock_unlock(&steering->lock);
    return count;
}

bool weir_steering_common(struct weir_steering *steering, uint32_t service) {
    uint64_t now = weir_unix_ns(steering->clock);
    bool any = false, others = false;
    pthread_rwlock_rdlock(&steering->lock);
    for (const struct weir_followed *followed = weir_followers_first(&steering->followers, service);
         followed != NULL && !others; followed = weir_followers_next(followed)) {
        if (!follows(followed) || weir_steering_is_gone(steering, followed, now)) continue;
        any = true;
        others = followed->way != WEIR_FOLLOW_RTDS;
    }
    pthread_rwlock_unlock(&steering->lock);
    return any && !others;
}
