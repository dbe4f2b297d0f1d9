/* zipkin_laws.h - what holds for any bytes that weir_zipkin_decode() is given, with the encoders as the way back. */
#ifndef WEIR_TESTS_ZIPKIN_LAWS_H
#define WEIR_TESTS_ZIPKIN_LAWS_H
#include "collector/decode/zipkin.h"
#include "exporters/zipkin/encode.h"

#include <string.h>

struct laws {
    struct weir_names *names;
    struct weir_otlp *otlp;
    struct weir_zipkin_decoder *decoder;
    struct weir_budget budget;
};

static inline struct laws *laws_new(void) {
    struct laws *laws = calloc(1, sizeof *laws);
    laws->names = weir_names_new(256, 64 * 1024);
    laws->otlp = weir_otlp_new(laws->names);
    laws->decoder = weir_zipkin_decoder_new(laws->otlp);
    laws->budget.limit_bytes = SIZE_MAX;
    return laws;
}

static inline void laws_free(struct laws *laws) {
    weir_zipkin_decoder_free(laws->decoder);
    weir_otlp_free(laws->otlp);
    weir_names_free(laws->names);
    free(laws);
}

static bool laws_encode(const struct weir_batch *batch, bool proto3, struct weir_buffer *out) {
    struct weir_zipkin_scratch scratch = {0};
    weir_buffer_clear(out);
    bool all = weir_zipkin_begin(&scratch, batch) && (proto3 ? weir_zipkin_encode_proto3 : weir_zipkin_encode_json)(
                                                         &scratch, 0, SIZE_MAX, out) == batch->span_count;
    weir_zipkin_scratch_free(&scratch);
    return all && !out->failed;
}

/* Decodes what `batch` was encoded as, and encodes that as JSON: it is `json` again. NULL, or what is wrong. */
static const char *laws_again(struct laws *laws, const struct weir_batch *batch, bool proto3,
                              const struct weir_buffer *json) {
    struct weir_buffer encoded = {0}, again = {0};
    struct weir_batch *second = weir_batch_new(NULL, 0);
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    const char *wrong = NULL;
    if (!laws_encode(batch, proto3, &encoded))
        wrong = "it is not encoded";
    else if (weir_zipkin_decode(laws->decoder, proto3 ? WEIR_ZIPKIN_PROTO3_LIST : WEIR_ZIPKIN_JSON_V2, encoded.bytes,
                                encoded.size, 0, second, &counts, &err) != WEIR_OK)
        wrong = "what left is refused when it comes back";
    else if (counts.spans != batch->span_count || counts.skipped > 0)
        wrong = "spans were lost";
    else if (!laws_encode(second, false, &again))
        wrong = "it is not encoded again";
    else if (again.size != json->size || memcmp(again.bytes, json->bytes, json->size) != 0)
        wrong = "another span comes back than left";
    weir_batch_unref(second);
    weir_buffer_free(&encoded);
    weir_buffer_free(&again);
    return wrong;
}

/* NULL, or the law that is broken. `json`: what it leaves as; empty where it is refused. */
static const char *laws_check(struct laws *laws, enum weir_zipkin_format format, const uint8_t *bytes, size_t size,
                              struct weir_buffer *json, struct weir_error *err) {
    struct weir_batch *batch = weir_batch_new(&laws->budget, 0);
    struct weir_otlp_counts counts = {0};
    const char *wrong = NULL;
    memset(err, 0, sizeof *err);
    weir_buffer_clear(json);
    enum weir_status status = weir_zipkin_decode(laws->decoder, format, bytes, size, 0, batch, &counts, err);
    /* A name of N bytes stands in up to eight spans that one of v1 becomes, and a buffer doubles. */
    if (batch->reserved_bytes > 32 * size + 64 * 1024)
        wrong = "more memory than 32 times the body";
    else if (atomic_load(&laws->budget.used_bytes) != batch->reserved_bytes)
        wrong = "memory is drawn that no batch has";
    else if (status == WEIR_OK && counts.spans != batch->span_count)
        wrong = "the count is not the number of spans";
    else if (status != WEIR_OK && (batch->span_count != 0 || batch->size != 0 || err->text[0] == 0))
        wrong = "what was refused is half there, or without a reason";
    else if (status == WEIR_OK && !laws_encode(batch, false, json))
        wrong = "it does not leave";
    else if (status == WEIR_OK)
        wrong = laws_again(laws, batch, false, json);
    if (wrong == NULL && status == WEIR_OK) wrong = laws_again(laws, batch, true, json);
    weir_batch_unref(batch);
    if (wrong == NULL && atomic_load(&laws->budget.used_bytes) != 0) wrong = "the budget is not given back";
    return wrong;
}
#endif
