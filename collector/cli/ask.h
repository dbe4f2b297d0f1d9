/* ask.h - one question to a running Weir's admin port. */
#ifndef WEIR_CLI_ASK_H
#define WEIR_CLI_ASK_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

struct weir_ask {
    const char *admin;      /* http://127.0.0.1:9646; "http://" may be left out */
    const char *token_file; /* NULL = none */
    const char *ca;         /* a file of authorities, for https; NULL = the system's */
};
#define WEIR_ASK_ADMIN "http://127.0.0.1:9646"

/* GET admin + path_and_query; the body, at most 16 MiB, is appended to *body and *status is the answer's (200, 404
 * ...). WEIR_IO, WEIR_INVALID: nobody answered, or the token cannot be read; err->text says why. */
enum weir_status weir_ask(const struct weir_ask *ask, const char *path_and_query, struct weir_buffer *body,
                          long *status, struct weir_error *err);
/* The same question for who asks in a way of its own: a CURL with address, token and authorities, but without a place
 * for the body. *headers belong to it: free them behind it, also when it is NULL, which is as above. */
struct curl_slist;
void *weir_ask_easy(const struct weir_ask *ask, const char *path_and_query, struct curl_slist **headers,
                    struct weir_error *err);
#endif
