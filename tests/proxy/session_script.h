/* tests/proxy/session_script.h: runs one scripted conversation, see tests/scenarios/README.md. */
#ifndef STSGATE_TESTS_PROXY_SESSION_SCRIPT_H
#define STSGATE_TESTS_PROXY_SESSION_SCRIPT_H

#include <stdbool.h>

#include "base/span.h"

/* How the client's and the MX's bytes are cut; the conversation is the same. */
enum script_way {
    WAY_WRITTEN,  /* each line at once, and nothing more before it was answered */
    WAY_BYTES,    /* one byte of the client at a time */
    WAY_MX_BYTES, /* one byte of the MX at a time */
    WAY_WHOLE,    /* everything the client ever says, at the start */
    SCRIPT_WAYS,
};

const char *script_way_name(enum script_way way);

/** Which ways the script allows, as bits 1 << way: its line "ways", or all but WAY_WHOLE. */
unsigned script_ways(struct span text);

/** Run text, the script called name. Fails the test when anything differs. */
void script_run(const char *name, struct span text, enum script_way way);

/** Run it with what it expects left out while the allocation after the first n fails: nothing
 * breaks, no command stays without its reply, and the client hears of no success that the MX did
 * not give. Returns whether an allocation failed at all. For tests with fail_allocations(). */
bool script_run_without_memory(const char *name, struct span text, unsigned n);

#endif
