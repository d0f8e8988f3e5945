/* tests/support/library_memory.h: what a test that makes allocations fail has to know. */
#ifndef STSGATE_TESTS_SUPPORT_LIBRARY_MEMORY_H
#define STSGATE_TESTS_SUPPORT_LIBRARY_MEMORY_H

#include <openssl/mem.h>

#include "tests/alloc_fail.h"

/** A library that is linked statically takes its memory through the same door, and BoringSSL does
 * not promise to survive without: then there is nothing to be said of our own allocations. */
static inline bool
library_memory_is_counted(void)
{
    void *mem;

    alloc_fail_after(0);
    mem = OPENSSL_malloc(1);
    OPENSSL_free(mem);
    return alloc_fail_happened();
}

#endif
