/* tokens.h - bearer tokens of a file (RFC 6750): one a line, lines that are empty or begin with # aside. The file is
 * read again when it changes; one that does not read, or holds none, changes nothing and is logged. One thread. */
#ifndef WEIR_RECEIVE_TOKENS_H
#define WEIR_RECEIVE_TOKENS_H
#include "collector/core/error.h"

#include <stddef.h>

struct weir_tokens;

/* *tokens stays NULL, with WEIR_OK, when path is "". name: the receiver's, for errors, which name key and file. */
enum weir_status weir_tokens_open(struct weir_tokens **tokens, const char *name, const char *path,
                                  struct weir_error *err);
void weir_tokens_refresh(struct weir_tokens *tokens); /* looks at the file now. NULL: nothing */
/* `header` is the value of Authorization, NULL when there is none. Looks at the file at most once a second. What it
 * takes does not tell how much of a token was right. tokens NULL: true. */
bool weir_tokens_allow(struct weir_tokens *tokens, const char *header, size_t size);
void weir_tokens_close(struct weir_tokens *tokens); /* accepts NULL */
#endif
