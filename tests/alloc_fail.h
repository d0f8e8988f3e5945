/* tests/alloc_fail.h: makes one allocation fail, for tests linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc (tests/CMakeLists.txt, fail_allocations()).
 * Only calls in the program's own objects are counted, not those inside shared libraries. */
#ifndef STSGATE_TESTS_ALLOC_FAIL_H
#define STSGATE_TESTS_ALLOC_FAIL_H

#include <stdbool.h>

/** From now on let n allocations pass and fail the one after them; then all pass again. */
void alloc_fail_after(unsigned n);

/** Has the failure happened? Ends the count either way. */
bool alloc_fail_happened(void);

#endif
