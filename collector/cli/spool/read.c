#include "collector/cli/spool/read.h"
#include "collector/decode/otlp_span.h"
#include "collector/sample/tail.h"
#include "collector/spool/decided.h"
#include "collector/spool/record.h"

#include <stdlib.h>

enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20 };

struct weir_spool_decoder {
    struct weir_names *names;
    struct weir_spool_reader *reader;
    struct weir_otlp_names walk;
};

struct weir_spool_decoder *weir_spool_decoder_new(void) {
    struct weir_spool_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) return NULL;
    decoder->names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    if (decoder->names != NULL) decoder->reader = weir_spool_reader_new(decoder->names);
    decoder->walk.names = decoder->names;
    if (decoder->reader != NULL) return decoder;
    weir_spool_decoder_free(decoder);
    return NULL;
}

void weir_spool_decoder_free(struct weir_spool_decoder *decoder) {
    if (decoder == NULL) return;
    weir_spool_reader_free(decoder->reader);
    weir_names_free(decoder->names);
    free(decoder);
}

struct weir_names *weir_spool_decoder_names(struct weir_spool_decoder *decoder) {
    return decoder->names;
}

struct handing {
    void (*batch)(void *self, struct weir_batch *batch);
    void *self;
};

static void one_span(void *self, struct weir_batch *batch, uint32_t i) {
    const struct handing *handing = self;
    (void)i; /* the only one */
    handing->batch(handing->self, batch);
}

static void one_decision(void *self, uint64_t trace_hi, uint64_t trace_lo, const struct weir_verdict *verdict) {
    (void)self, (void)trace_hi, (void)trace_lo, (void)verdict;
}

enum weir_status weir_spool_decode(struct weir_spool_decoder *decoder, const struct weir_spool_part *part,
                                   const struct weir_log_record *record,
                                   void (*batch)(void *self, struct weir_batch *batch), void *self,
                                   struct weir_error *err) {
    struct handing handing = {batch, self};
    struct weir_batch *whole = NULL;
    enum weir_status status = WEIR_OK;
    uint64_t unix_ns;
    switch (weir_spool_part_kind(part, record->type)) {
    case WEIR_SPOOL_BATCH:
        status = weir_spool_record_read(decoder->reader, record->bytes, record->size, &whole, &unix_ns, err);
        if (status == WEIR_OK && !part->journal && whole->span_count != weir_spool_record_spans(record->type))
            status = weir_fail(err, WEIR_INVALID, 0, false, "%u spans, its head says %u", whole->span_count,
                               weir_spool_record_spans(record->type));
        if (status == WEIR_OK) batch(self, whole);
        weir_batch_unref(whole);
        break;
    case WEIR_SPOOL_BLOCK:
        status = weir_tail_read_record(record->bytes, record->size, decoder->names, one_span, &handing, err);
        break;
    case WEIR_SPOOL_DECISIONS:
        status = weir_decided_read(record->bytes, record->size, decoder->names, one_decision, NULL, err);
        break;
    case WEIR_SPOOL_MOVED:
        if (record->size != sizeof(uint64_t)) status = weir_fail(err, WEIR_INVALID, 0, false, "not a mark");
        break;
    case WEIR_SPOOL_OTHER: break; /* an index, or of a Weir that is newer */
    }
    return status;
}

enum weir_status weir_spool_check(struct weir_spool_decoder *decoder, const struct weir_batch *batch,
                                  struct weir_error *err) {
    for (uint32_t i = 0; i < batch->span_count; i++) {
        const struct weir_span *span = &batch->spans[i];
        struct weir_otlp_finding finding;
        struct weir_span again;
        char reason[64] = "";
        enum weir_otlp_verdict verdict =
            weir_otlp_read_span(&decoder->walk, batch->bytes + span->offset, span->size, &again, &finding, reason);
        if (verdict == WEIR_OTLP_BAD_ID) return weir_fail(err, WEIR_INVALID, 0, false, "span %u: %s", i, reason);
        if (verdict == WEIR_OTLP_BAD_TEXT)
            return weir_fail(err, WEIR_INVALID, 0, false, "span %u: a text is not UTF-8", i);
        if (verdict != WEIR_OTLP_GOOD)
            return weir_fail(err, WEIR_INVALID, 0, false, "span %u: %s", i,
                             finding.why != NULL ? finding.why : "is broken");
        if (again.trace_hi != span->trace_hi || again.trace_lo != span->trace_lo || again.span_id != span->span_id)
            return weir_fail(err, WEIR_INVALID, 0, false, "span %u: its body has other ids", i);
    }
    return WEIR_OK;
}
