#include "collector/receive/tokens.h"
#include "collector/config/config.h"
#include "collector/core/log.h"
#include "collector/receive/stamp.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TOKENS_MAX = 256, LINE_BYTES = 8192 };

struct weir_tokens {
    char name[32], path[WEIR_TEXT_MAX];
    struct weir_stamp stamp; /* of what was read last, well or not */
    time_t next_look_s;
    /* Digests: of equal size whatever the tokens', and of no use to who reads our memory. */
    uint32_t count;
    uint8_t digests[TOKENS_MAX][SHA256_DIGEST_LENGTH];
};

/* RFC 7235 2.1, token68. */
static bool is_token(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == 0 || strchr("-._~+/=", c) == NULL)) return false;
    }
    return size > 0;
}

static enum weir_status read_line(struct weir_tokens *tokens, char *line, unsigned number, const char *section,
                                  struct weir_error *err) {
    line += strspn(line, " \t");
    size_t size = strcspn(line, " \t\r\n");
    if (size == 0 || *line == '#') return WEIR_OK;
    if (!is_token(line, size) || line[size + strspn(line + size, " \t\r\n")] != 0) {
        return weir_fail(err, WEIR_INVALID, 0, false, "%s.bearer_token_file: %s:%u: not a token (RFC 6750 2.1)",
                         section, tokens->path, number);
    }
    if (tokens->count == TOKENS_MAX) {
        return weir_fail(err, WEIR_INVALID, 0, false, "%s.bearer_token_file: %s: more than %d tokens", section,
                         tokens->path, TOKENS_MAX);
    }
    SHA256((const uint8_t *)line, size, tokens->digests[tokens->count++]);
    return WEIR_OK;
}

static enum weir_status read_file(struct weir_tokens *tokens, struct weir_error *err) {
    char section[48], line[LINE_BYTES];
    unsigned number = 0;
    weir_stamp_section(tokens->name, section, sizeof section);
    tokens->count = 0;
    FILE *file = fopen(tokens->path, "re");
    enum weir_status status = WEIR_OK;
    while (file != NULL && status == WEIR_OK && fgets(line, sizeof line, file) != NULL)
        status = read_line(tokens, line, ++number, section, err);
    OPENSSL_cleanse(line, sizeof line);
    if (file == NULL || ferror(file)) {
        status = weir_fail(err, WEIR_INVALID, 0, false, "%s.bearer_token_file: %s: %s", section, tokens->path,
                           strerror(errno));
    } else if (status == WEIR_OK && tokens->count == 0) {
        status =
            weir_fail(err, WEIR_INVALID, 0, false, "%s.bearer_token_file: %s: holds no token", section, tokens->path);
    }
    if (file != NULL) fclose(file);
    return status;
}

enum weir_status weir_tokens_open(struct weir_tokens **out, const char *name, const char *path,
                                  struct weir_error *err) {
    if (*path == 0) return WEIR_OK;
    struct weir_tokens *tokens = calloc(1, sizeof *tokens);
    if (tokens == NULL) return weir_fail(err, WEIR_FULL, 0, false, "%s: tokens: out of memory", name);
    snprintf(tokens->name, sizeof tokens->name, "%s", name);
    snprintf(tokens->path, sizeof tokens->path, "%s", path);
    tokens->stamp = weir_stamp_of(path);
    enum weir_status status = read_file(tokens, err);
    if (status != WEIR_OK) {
        free(tokens);
        return status;
    }
    *out = tokens;
    return WEIR_OK;
}

void weir_tokens_refresh(struct weir_tokens *tokens) {
    if (tokens == NULL) return;
    struct weir_stamp now = weir_stamp_of(tokens->path);
    if (weir_stamp_equal(&now, &tokens->stamp)) return;
    tokens->stamp = now;
    struct weir_error err = {0};
    struct weir_tokens *next = malloc(sizeof *next);
    if (next == NULL) return;
    *next = *tokens;
    if (read_file(next, &err) == WEIR_OK) {
        *tokens = *next;
        weir_log(WEIR_LOG_INFO, "tokens_reloaded receiver=%s tokens=%u", tokens->name, tokens->count);
    } else {
        weir_log(WEIR_LOG_WARN, "tokens_not_reloaded receiver=%s reason=\"%s\"", tokens->name, err.text);
    }
    free(next);
}

bool weir_tokens_allow(struct weir_tokens *tokens, const char *header, size_t size) {
    static const char scheme[] = "bearer "; /* RFC 7235 2.1: in any case */
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (tokens == NULL) return true;
    if (weir_stamp_due(&tokens->next_look_s)) weir_tokens_refresh(tokens);
    if (header == NULL || size < sizeof scheme || strncasecmp(header, scheme, sizeof scheme - 1) != 0) return false;
    header += sizeof scheme - 1;
    size -= sizeof scheme - 1;
    for (; size > 0 && *header == ' '; header++)
        size--;
    while (size > 0 && header[size - 1] == ' ')
        size--;
    SHA256((const uint8_t *)header, size, digest);
    bool found = false;
    for (uint32_t i = 0; i < tokens->count; i++)
        found |= CRYPTO_memcmp(digest, tokens->digests[i], sizeof digest) == 0;
    return found;
}

void weir_tokens_close(struct weir_tokens *tokens) {
    free(tokens);
}
