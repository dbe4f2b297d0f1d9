/* signature.h - who knows the key signs: HMAC-SHA256 (RFC 2104), of which the first 16 bytes are kept, as RFC 2104, 5
 * allows. */
#ifndef WEIR_CORE_SIGNATURE_H
#define WEIR_CORE_SIGNATURE_H
#include "collector/core/error.h"

#include <stddef.h>
#include <stdint.h>

enum { WEIR_SIGNATURE_BYTES = 16, WEIR_SIGNATURE_KEY_MIN = 16, WEIR_SIGNATURE_KEY_MAX = 4096 };

struct weir_signer; /* one thread */

/* The key is what the file holds, any bytes, without one newline at its end. WEIR_INVALID: less than 16 bytes or more
 * than 4,096; WEIR_IO: it does not read. err->text begins with `what`, and never has the key. */
enum weir_status weir_signer_open(struct weir_signer **signer, const char *what, const char *path,
                                  struct weir_error *err);
bool weir_signer_sign(struct weir_signer *signer, const uint8_t *bytes, size_t size,
                      uint8_t signature[WEIR_SIGNATURE_BYTES]); /* false: the library says no */
/* In a time that does not hang on where a signature is wrong. */
bool weir_signer_verify(struct weir_signer *signer, const uint8_t *bytes, size_t size,
                        const uint8_t signature[WEIR_SIGNATURE_BYTES]);
void weir_signer_close(struct weir_signer *signer); /* accepts NULL */
#endif
