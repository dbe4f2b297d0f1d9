#include "collector/core/utf8.h"
#include "collector/sample/steering_inside.h"

#include <stdlib.h>
#include <string.h>

enum state { CURRENT, BEHIND, REFUSED, GONE, STATES };
static const char *const state_names[STATES] = {"current", "behind", "refused", "gone"};

enum { FORGOTTEN = WEIR_FOLLOW_WAYS * STATES, METRICS };
#define FOLLOWERS(way, state)                                                                                          \
    {                                                                                                                  \
        "policy_followers", "way=\"" way "\",state=\"" state "\"", WEIR_GAUGE,                                         \
            "Who follows the policy, by how it is told and whether it has what it should have."                        \
    }
#define WAY(way) FOLLOWERS(way, "current"), FOLLOWERS(way, "behind"), FOLLOWERS(way, "refused"), FOLLOWERS(way, "gone")
static const struct weir_metric metrics[METRICS] = {
    WAY("rtds"),
    WAY("poll"),
    WAY("datagram"),
    WAY("file"),
    {"policy_followers_forgotten_total", NULL, WEIR_COUNTER, "Followers that gave way to others: the table is full."}};

static enum state state_of(const struct weir_steering *steering, const struct weir_followed *followed, uint64_t now) {
    if (weir_steering_is_gone(steering, followed, now)) return GONE;
    if (followed->reason[0] != 0) return REFUSED;
    const struct weir_plan *plan = steering->plans[weir_steering_side(steering, followed->id, followed->id_size)];
    const struct weir_taken *has = weir_followed_has(followed);
    if (has == NULL) return BEHIND;
    if (plan == NULL) return CURRENT; /* nothing has to be had */
    return has->version == weir_plan_find(plan, followed->service)->version ? CURRENT : BEHIND;
}

static void read_followers(struct weir_metric_set *set, void *self) {
    struct weir_steering *steering = self;
    uint64_t counts[METRICS] = {0}, now = weir_unix_ns(steering->clock);
    pthread_rwlock_rdlock(&steering->lock);
    for (const struct weir_followed *followed = steering->followers.oldest; followed != NULL;
         followed = followed->newer)
        counts[(uint32_t)followed->way * STATES + state_of(steering, followed, now)]++;
    counts[FORGOTTEN] = steering->followers.forgotten;
    pthread_rwlock_unlock(&steering->lock);
    for (uint32_t i = 0; i < METRICS; i++)
        weir_gauge(set, i, counts[i]);
}

/* Ids and reasons are whatever a peer sent, cut anywhere. */
static void put_text(struct weir_buffer *out, const char *text, size_t size) {
    uint8_t repaired[3 * WEIR_NAME_BYTES_MAX];
    if (size > WEIR_NAME_BYTES_MAX) size = WEIR_NAME_BYTES_MAX;
    size = weir_utf8_repair((const uint8_t *)text, size, repaired);
    weir_buffer_byte(out, '"');
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = repaired[i];
        if (byte == '"' || byte == '\\') weir_buffer_byte(out, '\\');
        if (byte < 0x20)
            weir_buffer_printf(out, "\\u%04x", byte);
        else
            weir_buffer_byte(out, byte);
    }
    weir_buffer_byte(out, '"');
}

/* Of a follower, what is told of it. */
struct shown {
    enum weir_follow_way way;
    enum weir_side side;
    enum state state;
    uint32_t service;
    struct weir_taken has; /* rate below 0: nothing that is known; no plan */
    char reason[WEIR_FOLLOWER_REASON_MAX];
    size_t id_size;
    char id[WEIR_FOLLOWER_ID_MAX];
};

static void show(const struct weir_steering *steering, const struct weir_followed *followed, uint64_t now,
                 struct shown *shown) {
    const struct weir_taken *has = weir_followed_has(followed);
    shown->way = followed->way;
    shown->side = weir_steering_side(steering, followed->id, followed->id_size);
    shown->state = state_of(steering, followed, now);
    shown->service = followed->service;
    shown->has = has != NULL ? *has : (struct weir_taken){.rate = -1};
    memcpy(shown->reason, followed->reason, sizeof shown->reason);
    shown->id_size = followed->id_size;
    memcpy(shown->id, followed->id, followed->id_size);
}

static void put_follower(const struct weir_names *names, const struct shown *shown, struct weir_buffer *out) {
    size_t size;
    const char *service = weir_names_text(names, shown->service, &size);
    weir_buffer_printf(out, "{\"way\":\"%s\",\"id\":", weir_follow_way_names[shown->way]);
    put_text(out, shown->id, shown->id_size);
    weir_buffer_text(out, ",\"service\":");
    put_text(out, service, size);
    weir_buffer_printf(out, ",\"side\":\"%s\",\"state\":\"%s\"", shown->side == WEIR_SIDE_CANARY ? "canary" : "policy",
                       state_names[shown->state]);
    if (shown->has.rate >= 0) {
        weir_buffer_printf(out, ",\"version\":\"%016llx\",\"rate\":", (unsigned long long)shown->has.version);
        weir_buffer_double(out, shown->has.rate);
        weir_buffer_printf(out, ",\"since\":%llu.%03llu", (unsigned long long)(shown->has.since_unix_ns / WEIR_S),
                           (unsigned long long)(shown->has.since_unix_ns % WEIR_S / WEIR_MS));
    }
    if (shown->reason[0] != 0) {
        weir_buffer_text(out, ",\"reason\":");
        put_text(out, shown->reason, strlen(shown->reason));
    }
    weir_buffer_byte(out, '}');
}

/* Lanes ask the board at each root: it is theirs again when followers are copied, not when they are written. */
void weir_steering_write(struct weir_steering *steering, struct weir_buffer *out) {
    uint64_t now = weir_unix_ns(steering->clock);
    uint32_t count = 0;
    struct shown *shown = malloc(WEIR_FOLLOWERS_MAX * sizeof *shown);
    if (shown == NULL) {
        out->failed = true;
        return;
    }
    pthread_rwlock_rdlock(&steering->lock);
    for (const struct weir_followed *followed = steering->followers.oldest; followed != NULL;
         followed = followed->newer)
        show(steering, followed, now, &shown[count++]);
    pthread_rwlock_unlock(&steering->lock);
    weir_buffer_byte(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) weir_buffer_byte(out, ',');
        put_follower(steering->names, &shown[i], out);
    }
    weir_buffer_byte(out, ']');
    free(shown);
}

struct weir_metric_set *weir_steering_open_metrics(struct weir_steering *steering) {
    struct weir_metric_set *set = weir_metrics_open(steering->metrics, metrics, METRICS, NULL);
    if (set != NULL) weir_metrics_refresh(steering->metrics, set, read_followers, steering);
    return set;
}
