#include "collector/core/signature.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weir_signer {
    EVP_MAC_CTX *context; /* holds the key; begun again for each message */
};

static enum weir_status read_key(const char *what, const char *path, uint8_t *key, size_t *size,
                                 struct weir_error *err) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL) return weir_fail(err, WEIR_IO, errno, false, "%s: %.120s: %s", what, path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no second copy of the key */
    size_t read = fread(key, 1, WEIR_SIGNATURE_KEY_MAX + 2, file);
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (failed != 0) return weir_fail(err, WEIR_IO, failed, false, "%s: %.120s: %s", what, path, strerror(failed));
    if (read > 0 && key[read - 1] == '\n') read--;
    if (read < WEIR_SIGNATURE_KEY_MIN || read > WEIR_SIGNATURE_KEY_MAX)
        return weir_fail(err, WEIR_INVALID, 0, false, "%s: %.120s: a key has %d to %d bytes", what, path,
                         WEIR_SIGNATURE_KEY_MIN, WEIR_SIGNATURE_KEY_MAX);
    *size = read;
    return WEIR_OK;
}

static EVP_MAC_CTX *new_context(const uint8_t *key, size_t size) {
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0), OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context holds it */
    if (context != NULL && EVP_MAC_init(context, key, size, params) == 1) return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}

enum weir_status weir_signer_open(struct weir_signer **out, const char *what, const char *path,
                                  struct weir_error *err) {
    uint8_t key[WEIR_SIGNATURE_KEY_MAX + 2];
    size_t size = 0;
    enum weir_status status = read_key(what, path, key, &size, err);
    if (status == WEIR_OK) {
        struct weir_signer *signer = calloc(1, sizeof *signer);
        if (signer != NULL) signer->context = new_context(key, size);
        if (signer == NULL || signer->context == NULL) {
            weir_signer_close(signer);
            status = weir_fail(err, WEIR_FULL, 0, false, "%s: HMAC-SHA256 cannot be had", what);
        } else {
            *out = signer;
        }
    }
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

bool weir_signer_sign(struct weir_signer *signer, const uint8_t *bytes, size_t size,
                      uint8_t signature[WEIR_SIGNATURE_BYTES]) {
    uint8_t whole[EVP_MAX_MD_SIZE];
    size_t whole_size = 0;
    if (EVP_MAC_init(signer->context, NULL, 0, NULL) != 1 || EVP_MAC_update(signer->context, bytes, size) != 1 ||
        EVP_MAC_final(signer->context, whole, &whole_size, sizeof whole) != 1 || whole_size < WEIR_SIGNATURE_BYTES)
        return false;
    memcpy(signature, whole, WEIR_SIGNATURE_BYTES);
    return true;
}

bool weir_signer_verify(struct weir_signer *signer, const uint8_t *bytes, size_t size,
                        const uint8_t signature[WEIR_SIGNATURE_BYTES]) {
    uint8_t right[WEIR_SIGNATURE_BYTES];
    return weir_signer_sign(signer, bytes, size, right) && CRYPTO_memcmp(right, signature, sizeof right) == 0;
}

void weir_signer_close(struct weir_signer *signer) {
    if (signer == NULL) return;
    EVP_MAC_CTX_free(signer->context);
    free(signer);
}
