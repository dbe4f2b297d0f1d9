/* emit.h - `weir emit`: plays a mesh of services into a collector, and says what became of every span (docs/emit.md).
 */
#ifndef WEIR_EMIT_EMIT_H
#define WEIR_EMIT_EMIT_H

/* argv[0] is "emit". The exit status: 0; 1 when a span was refused, rejected or left without an answer (--allow-refused
 * makes that 0), or nothing could be sent; 2 for wrong usage. */
int weir_emit_main(int argc, char **argv);
#endif
