/* linger.h - connections that are over for us while their peer still sends. Closed at once they would be reset, and the
 * peer might never read the answer that it was given before its request had ended (RFC 9112 9.6): what still comes is
 * read and dropped, for two seconds or 64 MiB, of at most 64 connections at a time. */
#ifndef WEIR_RECEIVE_LINGER_H
#define WEIR_RECEIVE_LINGER_H
#include "collector/core/loop.h"

struct weir_linger; /* of one loop */

struct weir_linger *weir_linger_new(struct weir_loop *loop); /* NULL: out of memory */
/* A non-blocking socket with all of its answer written; owned from here on. */
void weir_linger_take(struct weir_linger *linger, int fd);
void weir_linger_free(struct weir_linger *linger); /* closes all; accepts NULL */
#endif
