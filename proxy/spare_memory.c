#include "proxy/spare_memory.h"

#include <ev.h>
#include <stdlib.h>

static void *spare; /* owned; NULL: it has been given up */
static size_t spare_bytes;

/* As libev's own, which ends the process on NULL. */
static void *
take(void *old, long bytes)
{
    void *mem;

    if (bytes <= 0) {
        free(old);
        return NULL;
    }
    mem = realloc(old, (size_t)bytes);
    if (mem || !spare)
        return mem;
    free(spare);
    spare = NULL;
    return realloc(old, (size_t)bytes);
}

void
spare_memory_init(size_t bytes)
{
    spare_bytes = bytes;
    ev_set_allocator(take);
    (void)spare_memory_is_there(); /* if not: nor will be for the first client */
}

bool
spare_memory_is_there(void)
{
    if (!spare)
        spare = malloc(spare_bytes);
    return spare != NULL;
}

void
spare_memory_clear(void)
{
    free(spare);
    spare = NULL;
}
