#include "collector/sample/followers.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 2 * WEIR_FOLLOWERS_MAX };

bool weir_followers_open(struct weir_followers *followers, const struct weir_names *names) {
    *followers = (struct weir_followers){.names = names};
    followers->ids = calloc(BUCKETS, sizeof(struct weir_followed *));
    followers->services = calloc(BUCKETS, sizeof(struct weir_followed *));
    return followers->ids != NULL && followers->services != NULL;
}

/* One Envoy is one node, whatever service it is taken for; an address may be that of many services. */
static bool is_one_proxy(enum weir_follow_way way) {
    return way == WEIR_FOLLOW_RTDS || way == WEIR_FOLLOW_DATAGRAM;
}

static uint64_t hash_of(const struct weir_followers *followers, enum weir_follow_way way, uint32_t service,
                        const void *id, size_t id_size) {
    uint64_t hash = weir_names_hash(followers->names, id, id_size) + (uint64_t)way;
    if (!is_one_proxy(way)) hash += (uint64_t)service << 8;
    return hash * 0x9e3779b97f4a7c15ull;
}

static struct weir_followed **bucket_of(struct weir_followed **buckets, uint64_t hash) {
    return &buckets[(hash >> 32) % BUCKETS];
}

static struct weir_followed **service_bucket(const struct weir_followers *followers, uint32_t service) {
    return bucket_of(followers->services, (service + 1ull) * 0x9e3779b97f4a7c15ull);
}

static size_t cut(size_t id_size) {
    return id_size < WEIR_FOLLOWER_ID_MAX ? id_size : WEIR_FOLLOWER_ID_MAX;
}

struct weir_followed *weir_followers_find(const struct weir_followers *followers, enum weir_follow_way way,
                                          uint32_t service, const void *id, size_t id_size) {
    id_size = cut(id_size);
    uint64_t hash = hash_of(followers, way, service, id, id_size);
    struct weir_followed *found = *bucket_of(followers->ids, hash);
    while (found != NULL && (found->hash != hash || found->way != way || found->id_size != id_size ||
                             memcmp(found->id, id, id_size) != 0 || (!is_one_proxy(way) && found->service != service)))
        found = found->next_of_id;
    return found;
}

static struct weir_followed *first_of(struct weir_followed *followed, uint32_t service) {
    while (followed != NULL && followed->service != service)
        followed = followed->next_of_service;
    return followed;
}

struct weir_followed *weir_followers_first(const struct weir_followers *followers, uint32_t service) {
    return first_of(*service_bucket(followers, service), service);
}

struct weir_followed *weir_followers_next(const struct weir_followed *followed) {
    return first_of(followed->next_of_service, followed->service);
}

/* ---- in and out of the table ---- */

static void join_service(struct weir_followers *followers, struct weir_followed *followed, uint32_t service) {
    followed->service = service;
    followed->service_slot = service_bucket(followers, service);
    followed->next_of_service = *followed->service_slot;
    if (followed->next_of_service != NULL) followed->next_of_service->service_slot = &followed->next_of_service;
    *followed->service_slot = followed;
}

static void leave_service(struct weir_followed *followed) {
    *followed->service_slot = followed->next_of_service;
    if (followed->next_of_service != NULL) followed->next_of_service->service_slot = followed->service_slot;
}

static void append(struct weir_followers *followers, struct weir_followed *followed) {
    followed->older = followers->newest;
    followed->newer = NULL;
    *(followers->newest != NULL ? &followers->newest->newer : &followers->oldest) = followed;
    followers->newest = followed;
}

static void unlink_age(struct weir_followers *followers, struct weir_followed *followed) {
    *(followed->older != NULL ? &followed->older->newer : &followers->oldest) = followed->newer;
    *(followed->newer != NULL ? &followed->newer->older : &followers->newest) = followed->older;
}

void weir_followers_forget(struct weir_followers *followers, struct weir_followed *followed) {
    *followed->id_slot = followed->next_of_id;
    if (followed->next_of_id != NULL) followed->next_of_id->id_slot = followed->id_slot;
    leave_service(followed);
    unlink_age(followers, followed);
    for (uint32_t i = 0; i < followed->taken_count; i++)
        weir_plan_unref(followed->taken[i].plan);
    weir_plan_unref(followed->told);
    if (followed->taken_count > 0) followers->taken_count[followed->way]--;
    followers->count--;
    free(followed);
}

/* Whoever sends many names cannot push out those that have a connection, unless these are the table. */
static void make_room(struct weir_followers *followers) {
    if (followers->count < WEIR_FOLLOWERS_MAX) return;
    struct weir_followed *victim = followers->oldest;
    while (victim != NULL && victim->connected)
        victim = victim->newer;
    weir_followers_forget(followers, victim != NULL ? victim : followers->oldest);
    followers->forgotten++;
}

static struct weir_followed *add(struct weir_followers *followers, const struct weir_follower *who, size_t id_size) {
    make_room(followers);
    struct weir_followed *made = calloc(1, sizeof *made + id_size + 1);
    if (made == NULL) return NULL;
    made->way = who->way;
    made->id_size = id_size;
    memcpy(made->id, who->id, id_size);
    made->hash = hash_of(followers, who->way, who->service, made->id, id_size);
    made->id_slot = bucket_of(followers->ids, made->hash);
    made->next_of_id = *made->id_slot;
    if (made->next_of_id != NULL) made->next_of_id->id_slot = &made->next_of_id;
    *made->id_slot = made;
    join_service(followers, made, who->service);
    append(followers, made);
    followers->count++;
    return made;
}

struct weir_followed *weir_followers_heard(struct weir_followers *followers, const struct weir_follower *who,
                                           uint64_t now_unix_ns) {
    size_t id_size = cut(strlen(who->id));
    struct weir_followed *followed = weir_followers_find(followers, who->way, who->service, who->id, id_size);
    if (followed == NULL) {
        followed = add(followers, who, id_size);
        if (followed == NULL) return NULL;
    } else {
        unlink_age(followers, followed);
        append(followers, followed);
        if (followed->service != who->service) { /* another file says so */
            leave_service(followed);
            join_service(followers, followed, who->service);
        }
    }
    followed->heard_unix_ns = now_unix_ns;
    followed->gone = false;
    followed->connected = who->way == WEIR_FOLLOW_RTDS;
    return followed;
}

void weir_followers_close(struct weir_followers *followers) {
    for (struct weir_followed *followed = followers->oldest, *newer; followed != NULL; followed = newer) {
        newer = followed->newer;
        weir_followers_forget(followers, followed);
    }
    free((void *)followers->ids);
    free((void *)followers->services);
    *followers = (struct weir_followers){0};
}

/* ---- what one of them had ---- */

void weir_followed_tell(struct weir_followed *followed, const struct weir_plan *plan) {
    const struct weir_plan *before = followed->told;
    followed->told = plan != NULL ? weir_plan_ref(plan) : NULL;
    weir_plan_unref(before);
}

const struct weir_taken *weir_followed_has(const struct weir_followed *followed) {
    return followed->taken_count > 0 ? &followed->taken[followed->taken_count - 1] : NULL;
}

const struct weir_taken *weir_followed_at(const struct weir_followed *followed, uint64_t unix_ns) {
    for (uint32_t i = followed->taken_count; i-- > 0;) {
        if (followed->taken[i].since_unix_ns <= unix_ns) return &followed->taken[i];
    }
    return NULL;
}

static void forget_oldest(struct weir_followed *followed, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        weir_plan_unref(followed->taken[i].plan);
    followed->taken_count -= count;
    memmove(followed->taken, followed->taken + count, followed->taken_count * sizeof *followed->taken);
}

void weir_followed_forget(struct weir_followed *followed, uint64_t before_unix_ns) {
    uint32_t count = 0;
    while (count + 1 < followed->taken_count && followed->taken[count + 1].since_unix_ns < before_unix_ns)
        count++;
    if (count > 0) forget_oldest(followed, count);
}

void weir_followed_take(struct weir_followers *followers, struct weir_followed *followed,
                        const struct weir_taken *taken) {
    const struct weir_taken *has = weir_followed_has(followed);
    if (has != NULL && has->version == taken->version && !(has->rate < taken->rate) && !(has->rate > taken->rate))
        return;
    struct weir_taken entry = *taken;
    /* A clock that was set back must not hide what was in force before. */
    if (has != NULL && entry.since_unix_ns < has->since_unix_ns) entry.since_unix_ns = has->since_unix_ns;
    if (entry.plan != NULL) entry.plan = weir_plan_ref(entry.plan);
    if (followed->taken_count == 0) followers->taken_count[followed->way]++;
    if (followed->taken_count == WEIR_FOLLOWER_HISTORY) forget_oldest(followed, 1);
    followed->taken[followed->taken_count++] = entry;
}
