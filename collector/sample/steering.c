#define _GNU_SOURCE /* a kind of rwlock */
#include "collector/sample/steering_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

const char *const weir_follow_way_names[WEIR_FOLLOW_WAYS] = {[WEIR_FOLLOW_RTDS] = "rtds",
                                                             [WEIR_FOLLOW_POLL] = "poll",
                                                             [WEIR_FOLLOW_DATAGRAM] = "datagram",
                                                             [WEIR_FOLLOW_FILE] = "file"};

/* Lanes read at each root, and one of them is always reading: whoever publishes must not wait for a gap. No thread
 * reads twice at a time. */
static void open_lock(pthread_rwlock_t *lock) {
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
}

struct weir_steering *weir_steering_new(struct weir_names *names, struct weir_metrics *registry,
                                        const struct weir_clock *clock) {
    struct weir_steering *steering = calloc(1, sizeof *steering);
    if (steering == NULL) return NULL;
    open_lock(&steering->lock);
    steering->names = names;
    steering->metrics = registry;
    steering->clock = clock;
    steering->poll_ns = 60 * WEIR_S;
    steering->born_ns = weir_mono_ns(clock);
    if (weir_followers_open(&steering->followers, names)) steering->set = weir_steering_open_metrics(steering);
    if (steering->set == NULL) {
        weir_steering_free(steering);
        return NULL;
    }
    return steering;
}

void weir_steering_free(struct weir_steering *steering) {
    if (steering == NULL) return;
    weir_metrics_close(steering->metrics, steering->set);
    weir_followers_close(&steering->followers);
    for (int i = 0; i < WEIR_SIDES; i++)
        weir_plan_unref(steering->plans[i]);
    for (int i = 0; i < PLANS_REMEMBERED; i++)
        weir_plan_unref(steering->remembered[i]);
    for (int i = 0; i < WEIR_SIDES; i++)
        free(steering->nodes[i].rules);
    pthread_rwlock_destroy(&steering->lock);
    free(steering);
}

enum {
    POLLS_MISSED = 3, /* a client that did not ask for so many intervals is gone */
    DATAGRAM_SILENCE_S = 60,
    GONE_S = 3600,   /* who is gone for so long is forgotten */
    HISTORY_S = 600, /* the latest that spans come, from a collector that was cut off, say */
    YOUNG_S = 30,    /* the longest that an Envoy waits until it connects again */
};

/* ---- the plans ---- */

static bool tells_the_same(const struct weir_plan *a, const struct weir_plan *b) {
    if (a == NULL || b == NULL) return a == b;
    return a->version == b->version;
}

static void replace(const struct weir_plan **slot, const struct weir_plan *plan) {
    const struct weir_plan *before = *slot;
    *slot = plan != NULL ? weir_plan_ref(plan) : NULL;
    weir_plan_unref(before);
}

/* It is the newest now: what was in force a moment ago is the last to be forgotten. */
static void remember(struct weir_steering *steering, const struct weir_plan *plan) {
    if (plan == NULL) return;
    const struct weir_plan **plans = steering->remembered;
    uint32_t at = 0;
    while (at + 1 < PLANS_REMEMBERED && plans[at] != NULL && plans[at]->version != plan->version)
        at++;
    const struct weir_plan *gives_way = plans[at];
    memmove((void *)(plans + 1), (const void *)plans, at * sizeof *plans);
    plans[0] = weir_plan_ref(plan);
    weir_plan_unref(gives_way);
}

static uint32_t node_rules_of(const struct weir_proxies *proxies, struct node_rule *rules) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        const struct weir_proxies_service *service = &proxies->services[i];
        for (uint32_t k = 0; k < service->node_count; k++, count++) {
            if (rules == NULL) continue;
            struct node_rule *rule = &rules[count];
            rule->service = service->rule.name;
            snprintf(rule->text, sizeof rule->text, "%s", service->nodes[k]);
            size_t size = strlen(rule->text);
            rule->prefix = size > 0 && rule->text[size - 1] == '*';
            if (rule->prefix) rule->text[size - 1] = 0;
        }
    }
    return count;
}

/* Copies: the file may be gone before the next one is published. Without memory the rules before stay. Whether any is
 * another: a node may be of another service then. */
static bool take_nodes(struct node_rules *nodes, const struct weir_proxies *proxies) {
    uint32_t count = proxies != NULL ? node_rules_of(proxies, NULL) : 0;
    struct node_rule *rules = count > 0 ? calloc(count, sizeof *rules) : NULL;
    if (count > 0 && rules == NULL) return false;
    if (count > 0) node_rules_of(proxies, rules);
    bool others = count != nodes->count || (count > 0 && memcmp(rules, nodes->rules, count * sizeof *rules) != 0);
    free(nodes->rules);
    *nodes = (struct node_rules){rules, count};
    return others;
}

void weir_steering_set_canary_nodes(struct weir_steering *steering, const struct weir_proxies *proxies) {
    pthread_rwlock_wrlock(&steering->lock);
    if (take_nodes(&steering->nodes[WEIR_SIDE_CANARY], proxies)) steering->nodes_changed = true;
    pthread_rwlock_unlock(&steering->lock);
}

/* Under the lock. */
static void say_whether_followed(struct weir_steering *steering) {
    const uint32_t *taken = steering->followers.taken_count;
    uint32_t count = taken[WEIR_FOLLOW_RTDS] + taken[WEIR_FOLLOW_DATAGRAM] + taken[WEIR_FOLLOW_POLL];
    atomic_store_explicit(&steering->followed, count > 0, memory_order_relaxed);
}

bool weir_steering_followed(const struct weir_steering *steering) {
    return atomic_load_explicit(&steering->followed, memory_order_relaxed) ||
           atomic_load_explicit(&steering->expecting, memory_order_relaxed);
}

bool weir_steering_is_young(const struct weir_steering *steering) {
    return weir_mono_ns(steering->clock) - steering->born_ns < YOUNG_S * WEIR_S;
}

/* Under the lock. */
static void tell_ears(struct weir_steering *steering) {
    for (struct weir_steering_ear *ear = steering->ears; ear != NULL; ear = ear->next) {
        if (!atomic_exchange_explicit(&ear->posted, true, memory_order_acq_rel))
            weir_mailbox_post(weir_loop_mailbox(ear->loop), &ear->mail);
    }
}

void weir_steering_publish(struct weir_steering *steering, const struct weir_plan *plan, const struct weir_plan *canary,
                           double share, bool trust_pollers, const struct weir_proxies *proxies) {
    pthread_rwlock_wrlock(&steering->lock);
    bool news = !tells_the_same(steering->plans[WEIR_SIDE_POLICY], plan) ||
                !tells_the_same(steering->plans[WEIR_SIDE_CANARY], canary) ||
                (canary != NULL && (share < steering->share || share > steering->share));
    replace(&steering->plans[WEIR_SIDE_POLICY], plan);
    replace(&steering->plans[WEIR_SIDE_CANARY], canary);
    remember(steering, plan);
    remember(steering, canary);
    steering->share = share;
    steering->trust_pollers = trust_pollers;
    if (proxies != NULL && proxies->poll_ns > 0) steering->poll_ns = proxies->poll_ns;
    if (take_nodes(&steering->nodes[WEIR_SIDE_POLICY], proxies) || steering->nodes_changed) news = true;
    steering->nodes_changed = false;
    say_whether_followed(steering);
    atomic_store_explicit(&steering->expecting, plan != NULL && weir_steering_is_young(steering), memory_order_relaxed);
    if (news) tell_ears(steering);
    pthread_rwlock_unlock(&steering->lock);
}

/* The same in every process, and for as long as the share does not fall below it: who is in the canary stays there
 * while it grows. */
enum weir_side weir_steering_side(const struct weir_steering *steering, const void *id, size_t id_size) {
    if (steering->plans[WEIR_SIDE_CANARY] == NULL) return WEIR_SIDE_POLICY;
    double place = (double)(XXH3_64bits(id, id_size) >> 11) * 0x1p-53;
    return place < steering->share ? WEIR_SIDE_CANARY : WEIR_SIDE_POLICY;
}

const struct weir_plan *weir_steering_plan(struct weir_steering *steering, const void *id, size_t id_size,
                                           enum weir_side *side) {
    pthread_rwlock_rdlock(&steering->lock);
    enum weir_side found = weir_steering_side(steering, id, id_size);
    const struct weir_plan *plan = steering->plans[found];
    if (plan != NULL) plan = weir_plan_ref(plan);
    pthread_rwlock_unlock(&steering->lock);
    if (side != NULL) *side = found;
    return plan;
}

static bool fits(const struct node_rule *rule, const char *name) {
    return rule->prefix ? strncmp(name, rule->text, strlen(rule->text)) == 0 : strcmp(name, rule->text) == 0;
}

uint32_t weir_steering_service_of(struct weir_steering *steering, const char *node_id, const char *cluster) {
    uint32_t service = WEIR_NAME_NONE;
    pthread_rwlock_rdlock(&steering->lock);
    const struct node_rules *nodes = &steering->nodes[weir_steering_side(steering, node_id, strlen(node_id))];
    for (uint32_t i = 0; service == WEIR_NAME_NONE && i < nodes->count; i++) {
        const struct node_rule *rule = &nodes->rules[i];
        if (fits(rule, cluster) || fits(rule, node_id)) service = rule->service;
    }
    pthread_rwlock_unlock(&steering->lock);
    return service != WEIR_NAME_NONE ? service : weir_names_find(steering->names, cluster, strlen(cluster));
}

/* ---- ears ---- */

void weir_steering_listen(struct weir_steering *steering, struct weir_steering_ear *ear) {
    pthread_rwlock_wrlock(&steering->lock);
    ear->next = steering->ears;
    steering->ears = ear;
    pthread_rwlock_unlock(&steering->lock);
}

void weir_steering_heard(struct weir_steering_ear *ear) {
    atomic_store_explicit(&ear->posted, false, memory_order_release);
}

bool weir_steering_unlisten(struct weir_steering *steering, struct weir_steering_ear *ear) {
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_steering_ear **link = &steering->ears;
    while (*link != NULL && *link != ear)
        link = &(*link)->next;
    if (*link != NULL) *link = ear->next;
    pthread_rwlock_unlock(&steering->lock);
    return !atomic_load_explicit(&ear->posted, memory_order_acquire);
}

/* ---- followers ---- */

/* What a plan tells it. Envoy's runtime has one rate for all of a listener's requests, so its operations have none of
 * their own (dialects/envoy.h); a plan is kept where they may. */
static struct weir_taken taken_of(const struct weir_followed *followed, const struct weir_plan *plan, uint64_t since) {
    const struct weir_plan_service *service = weir_plan_find(plan, followed->service);
    bool envoy = followed->way == WEIR_FOLLOW_RTDS;
    return (struct weir_taken){.since_unix_ns = since,
                               .version = service->version,
                               .plan = envoy ? NULL : plan,
                               .rate = envoy ? weir_plan_round_envoy(service->rate.rate) : service->rate.rate};
}

static void take(struct weir_steering *steering, struct weir_followed *followed, const struct weir_taken *taken) {
    if (followed->taken_count == 0) atomic_fetch_add_explicit(&steering->arrivals, 1, memory_order_release);
    weir_followed_take(&steering->followers, followed, taken);
    followed->reason[0] = 0;
    say_whether_followed(steering);
}

void weir_steering_told(struct weir_steering *steering, const struct weir_follower *follower,
                        const struct weir_plan *plan) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed = weir_followers_heard(&steering->followers, follower, now);
    if (followed != NULL && follower->way == WEIR_FOLLOW_RTDS) {
        weir_followed_tell(followed, plan);
    } else if (followed != NULL && plan != NULL) {
        struct weir_taken taken = taken_of(followed, plan, now);
        take(steering, followed, &taken);
    }
    pthread_rwlock_unlock(&steering->lock);
}

static void answered(struct weir_steering *steering, struct weir_followed *followed, uint64_t version,
                     const char *reason, uint64_t now) {
    if (followed->told == NULL) return;
    struct weir_taken taken = taken_of(followed, followed->told, now);
    if (taken.version != version && followed->told->version != version) return; /* of what was told before */
    if (reason == NULL)
        take(steering, followed, &taken);
    else
        snprintf(followed->reason, sizeof followed->reason, "%s", *reason != 0 ? reason : "no reason was given");
    weir_followed_tell(followed, NULL);
}

void weir_steering_answered(struct weir_steering *steering, const struct weir_follower *follower, uint64_t version,
                            const char *reason) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed = weir_followers_heard(&steering->followers, follower, now);
    if (followed != NULL) answered(steering, followed, version, reason, now);
    pthread_rwlock_unlock(&steering->lock);
}

void weir_steering_has(struct weir_steering *steering, const struct weir_follower *follower, double rate,
                       uint64_t version) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed = weir_followers_heard(&steering->followers, follower, now);
    if (followed != NULL) {
        /* It was there before this process: it had that rate for as long as anything is known of it. */
        bool is_first = followed->taken_count == 0;
        struct weir_taken taken = {.since_unix_ns = is_first ? 0 : now, .version = version, .rate = rate};
        if (is_first) followed->adopted = true;
        take(steering, followed, &taken);
    }
    pthread_rwlock_unlock(&steering->lock);
}

void weir_steering_has_nothing(struct weir_steering *steering, const struct weir_follower *follower) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed = weir_followers_heard(&steering->followers, follower, now);
    if (followed != NULL && followed->taken_count > 0 && followed->connections <= 1) {
        struct weir_taken taken = {.since_unix_ns = now, .rate = -1};
        take(steering, followed, &taken);
    }
    pthread_rwlock_unlock(&steering->lock);
}

bool weir_steering_settling(const struct weir_steering *steering) {
    return atomic_load_explicit(&steering->settling, memory_order_acquire);
}

void weir_steering_set_settling(struct weir_steering *steering, bool settling) {
    pthread_rwlock_wrlock(&steering->lock);
    bool was = atomic_exchange_explicit(&steering->settling, settling, memory_order_acq_rel);
    if (was && !settling) tell_ears(steering);
    pthread_rwlock_unlock(&steering->lock);
}

void weir_steering_take_adopted(struct weir_steering *steering,
                                void (*adopt)(void *self, uint32_t service, double rate), void *self) {
    pthread_rwlock_wrlock(&steering->lock);
    for (struct weir_followed *next = steering->followers.oldest; next != NULL; next = next->newer) {
        if (!next->adopted) continue;
        double sum = 0;
        uint32_t count = 0;
        for (struct weir_followed *other = weir_followers_first(&steering->followers, next->service); other != NULL;
             other = weir_followers_next(other)) {
            if (!other->adopted) continue;
            other->adopted = false;
            sum += other->taken[0].rate;
            count++;
        }
        adopt(self, next->service, sum / count);
    }
    pthread_rwlock_unlock(&steering->lock);
}

const struct weir_plan *weir_steering_remembered(const struct weir_steering *steering, uint32_t service,
                                                 uint64_t version) {
    for (int i = 0; i < PLANS_REMEMBERED; i++) {
        const struct weir_plan *plan = steering->remembered[i];
        if (plan != NULL && (plan->version == version || weir_plan_find(plan, service)->version == version))
            return plan;
    }
    return NULL;
}

bool weir_steering_follows(struct weir_steering *steering, const struct weir_follower *follower, uint64_t version) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    const struct weir_plan *plan = weir_steering_remembered(steering, follower->service, version);
    struct weir_followed *followed = plan != NULL ? weir_followers_heard(&steering->followers, follower, now) : NULL;
    if (followed != NULL) {
        struct weir_taken taken = taken_of(followed, plan, now);
        take(steering, followed, &taken);
    }
    pthread_rwlock_unlock(&steering->lock);
    return followed != NULL;
}

bool weir_steering_asks(struct weir_steering *steering, const struct weir_follower *follower, uint64_t start_ns,
                        uint64_t sequence) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed =
        weir_followers_find(&steering->followers, follower->way, follower->service, follower->id, strlen(follower->id));
    bool is_new = followed == NULL || weir_steering_is_gone(steering, followed, now) ||
                  followed->asked_start_ns < start_ns ||
                  (followed->asked_start_ns == start_ns && followed->asked_sequence < sequence);
    if (is_new) followed = weir_followers_heard(&steering->followers, follower, now);
    if (is_new && followed != NULL) {
        followed->asked_start_ns = start_ns;
        followed->asked_sequence = sequence;
    }
    pthread_rwlock_unlock(&steering->lock);
    return is_new && followed != NULL;
}

void weir_steering_came(struct weir_steering *steering, const struct weir_follower *follower) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed = weir_followers_heard(&steering->followers, follower, now);
    if (followed != NULL) followed->connections++;
    pthread_rwlock_unlock(&steering->lock);
}

void weir_steering_gone(struct weir_steering *steering, const struct weir_follower *follower) {
    pthread_rwlock_wrlock(&steering->lock);
    struct weir_followed *followed =
        weir_followers_find(&steering->followers, follower->way, follower->service, follower->id, strlen(follower->id));
    if (followed != NULL && followed->connections > 0) followed->connections--;
    if (followed != NULL && followed->connections == 0) {
        followed->heard_unix_ns = weir_unix_ns(steering->clock);
        followed->gone = true;
        followed->connected = false;
        weir_followed_tell(followed, NULL);
    }
    pthread_rwlock_unlock(&steering->lock);
}

bool weir_steering_is_gone(const struct weir_steering *steering, const struct weir_followed *followed,
                           uint64_t unix_ns) {
    if (followed->gone) return true;
    if (followed->way == WEIR_FOLLOW_POLL) return followed->heard_unix_ns + POLLS_MISSED * steering->poll_ns < unix_ns;
    if (followed->way == WEIR_FOLLOW_DATAGRAM) return followed->heard_unix_ns + DATAGRAM_SILENCE_S * WEIR_S < unix_ns;
    return false;
}

void weir_steering_tidy(struct weir_steering *steering) {
    uint64_t now = weir_unix_ns(steering->clock);
    pthread_rwlock_wrlock(&steering->lock);
    for (struct weir_followed *followed = steering->followers.oldest, *newer; followed != NULL; followed = newer) {
        newer = followed->newer;
        if (followed->heard_unix_ns + GONE_S * WEIR_S < now && weir_steering_is_gone(steering, followed, now))
            weir_followers_forget(&steering->followers, followed);
        else if (now > HISTORY_S * WEIR_S)
            weir_followed_forget(followed, now - HISTORY_S * WEIR_S);
    }
    say_whether_followed(steering);
    pthread_rwlock_unlock(&steering->lock);
}
