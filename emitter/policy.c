#include "emitter/policy.h"
#include "emitter/weir_emit.h"
#include "emitter/wire.h"

enum { VERSION = 1, NONCE, POLICY_VERSION, THRESHOLD, THRESHOLDS, HMAC = 15 }; /* of PolicyAnswer */

static bool sane(uint64_t threshold) {
    return threshold <= WEIR_EMIT_NEVER;
}

static bool add(struct policy_answer *answer, uint64_t threshold, uint64_t *thresholds, uint32_t room) {
    if (answer->threshold_count < room) thresholds[answer->threshold_count] = threshold;
    answer->threshold_count++;
    return sane(threshold);
}

/* Packed or not, as readers of protobuf have to take either. */
static bool add_all(struct policy_answer *answer, const struct wire_field *field, uint64_t *thresholds, uint32_t room) {
    if (field->type == WIRE_FIXED64) return add(answer, field->value, thresholds, room);
    if (field->type != WIRE_BYTES || field->value % 8 != 0) return false;
    for (size_t at = 0; at < field->value; at += 8) {
        uint64_t threshold;
        memcpy(&threshold, field->bytes + at, 8);
        if (!add(answer, threshold, thresholds, room)) return false;
    }
    return true;
}

static bool take_number(const struct wire_field *field, uint64_t *out) {
    static const uint8_t types[] = {0, WIRE_VARINT, WIRE_FIXED64, WIRE_VARINT, WIRE_FIXED64};
    *out = field->value;
    return field->type == types[field->number];
}

bool policy_parse(const uint8_t *bytes, size_t size, struct policy_answer *answer, uint64_t *thresholds,
                  uint32_t room) {
    struct wire wire = {.at = bytes, .end = bytes + size};
    struct wire_field field;
    uint64_t version = 0;
    bool sound = true;
    *answer = (struct policy_answer){0};
    for (const uint8_t *start = bytes; sound && wire_next(&wire, &field); start = wire.at) {
        if (answer->hmac != NULL) return false; /* it is the last field */
        switch (field.number) {
        case VERSION: sound = take_number(&field, &version); break;
        case NONCE: sound = take_number(&field, &answer->nonce); break;
        case POLICY_VERSION: sound = take_number(&field, &answer->version); break;
        case THRESHOLD: sound = take_number(&field, &answer->threshold); break;
        case THRESHOLDS: sound = add_all(answer, &field, thresholds, room); break;
        case HMAC:
            sound = field.type == WIRE_BYTES && field.value == SIGNATURE_BYTES;
            answer->hmac = field.bytes;
            answer->signed_size = (size_t)(start - bytes);
            break;
        default: break;
        }
    }
    return sound && !wire.broken && version == 1 && answer->nonce != 0 && answer->version != 0 &&
           sane(answer->threshold);
}

void policy_round(struct policy *policy) {
    policy->ask_count = policy->answered = 0;
    policy->round_version = 0;
    policy->differ = false;
}

bool policy_asked(struct policy *policy, uint64_t nonce, uint64_t version, uint32_t first, uint32_t count) {
    if (policy->ask_count == POLICY_ASKS_MAX) return false;
    policy->asks[policy->ask_count++] =
        (struct policy_ask){.nonce = nonce, .version = version, .first = first, .count = count};
    return true;
}

static struct policy_ask *find(struct policy *policy, uint64_t nonce) {
    for (uint32_t i = 0; i < policy->ask_count; i++) {
        if (policy->asks[i].nonce == nonce) return &policy->asks[i];
    }
    return NULL;
}

enum policy_verdict policy_hear(struct policy *policy, const uint8_t *bytes, size_t size, size_t ask_bytes,
                                struct policy_news *news) {
    struct policy_answer answer;
    if (size > ask_bytes) return POLICY_LARGE;
    if (!policy_parse(bytes, size, &answer, policy->thresholds, policy->operations_max)) return POLICY_MALFORMED;
    if (policy->signing != NULL &&
        (answer.hmac == NULL || !signing_verify(policy->signing, bytes, answer.signed_size, answer.hmac)))
        return POLICY_SIGNATURE;
    struct policy_ask *ask = find(policy, answer.nonce);
    if (ask == NULL) return POLICY_NONCE;
    if (answer.threshold_count > ask->count) return POLICY_MALFORMED;
    ask->nonce = 0;
    if (answer.version == ask->version) return POLICY_SAME;
    policy->threshold = answer.threshold;
    policy->heard = answer.version;
    *news = (struct policy_news){.version = answer.version,
                                 .first = ask->first,
                                 .count = answer.threshold_count,
                                 .thresholds = policy->thresholds};
    policy->differ |= policy->answered > 0 && policy->round_version != answer.version;
    policy->round_version = answer.version;
    if (++policy->answered == policy->ask_count && !policy->differ) policy->version = answer.version;
    return POLICY_TAKEN;
}
