#include "tests/alloc_fail.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *mem, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *mem, size_t size);

static struct {
    bool counting, happened;
    unsigned left;
} state; /* malloc() takes no argument to hang it from */

void
alloc_fail_after(unsigned n)
{
    state.counting = true;
    state.happened = false;
    state.left = n;
}

bool
alloc_fail_happened(void)
{
    state.counting = false;
    return state.happened;
}

static bool
fails(void)
{
    if (!state.counting || state.left-- > 0)
        return false;
    state.counting = false;
    state.happened = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *mem, size_t size)
{
    return fails() ? NULL : __real_realloc(mem, size);
}
