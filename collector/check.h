/* check.h - `weir check [-c FILE]`: would `weir run` take this configuration? */
#ifndef WEIR_CHECK_H
#define WEIR_CHECK_H
/* path "" = no file. Prints what would run on stdout and returns 0, or `file:line: reason` on stderr and returns 1.
 * Binds no port, so that the configuration of a running Weir can be checked beside it. */
int weir_check(const char *path);
#endif
