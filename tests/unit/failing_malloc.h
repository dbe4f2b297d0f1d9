/* failing_malloc.h - memory that is not there: while `inside`, the failing-th request for it fails. For one program:
 * it stands in for libc's, where no sanitizer does (OWN_MALLOC). */
#ifndef WEIR_TESTS_FAILING_MALLOC_H
#define WEIR_TESTS_FAILING_MALLOC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
#define OWN_MALLOC 0 /* it has its own already */
#else
#define OWN_MALLOC 1
#endif

static bool inside;                /* what is tried */
static uint64_t requests, failing; /* the failing-th fails; 0: none */

#if OWN_MALLOC
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static bool fails(void) {
    return inside && ++requests == failing;
}
void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return fails() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    return fails() ? NULL : __libc_realloc(old, size);
}
#endif
#endif
