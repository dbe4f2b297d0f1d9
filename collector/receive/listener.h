/* listener.h - a TCP port that every lane listens on by itself (SO_REUSEPORT); the kernel deals the connections out. */
#ifndef WEIR_RECEIVE_LISTENER_H
#define WEIR_RECEIVE_LISTENER_H
#include "collector/config/config.h"
#include "collector/core/loop.h"

struct weir_listener;

/* Binds and listens; accepts nothing yet. *listener stays NULL on failure. `accepted` gets a non-blocking socket and
 * owns it. */
enum weir_status weir_listener_open(struct weir_listener **listener, const char *name, const struct weir_listen *listen,
                                    struct weir_loop *loop, void (*accepted)(void *self, int fd), void *self,
                                    struct weir_error *err);
enum weir_status weir_listener_start(struct weir_listener *listener, struct weir_error *err);
void weir_listener_stop(struct weir_listener *listener); /* no more connections: the port is closed. Once or more */
uint16_t weir_listener_port(const struct weir_listener *listener);
void weir_listener_close(struct weir_listener *listener); /* accepts NULL */
#endif
