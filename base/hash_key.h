/* base/hash_key.h: the hash of the program's tables: SipHash-1-3 with a secret of the process, so
 * that nobody who picks domain names can fill one bucket. Include before <uthash.h>. Context: any
 * process. */
#ifndef STSGATE_BASE_HASH_KEY_H
#define STSGATE_BASE_HASH_KEY_H

#include <stddef.h>
#include <stdint.h>

/** Draw the secret (getrandom). Once in main, before the first table; without it the secret is 0.
 */
void hash_key_init(void);

uint64_t hash_bytes(const void *bytes, size_t len);

/* A table that cannot grow leaves the new entry out, in place of ending the process: HASH_ENTERED()
 * tells after each HASH_ADD. */
#define HASH_NONFATAL_OOM 1
#define HASH_ENTERED(entry) ((entry)->hh.tbl != NULL)

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_bytes((keyptr), (keylen)))

#endif
