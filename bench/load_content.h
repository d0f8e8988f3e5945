/* bench/load_content.h: the text of a mail of any size, header to final dot. Its lines repeat, and
 * only a few of them are kept: sent from the cache, a large mail costs the load generator little,
 * so that it is not what is measured. Context: stsgate-load; read only after its making. */
#ifndef STSGATE_BENCH_LOAD_CONTENT_H
#define STSGATE_BENCH_LOAD_CONTENT_H

#include "base/result.h"
#include "base/span.h"

struct load_content {
    char *text; /* owned: header, lines, what is left of the body, final dot */
    size_t text_len;
    size_t loop;  /* octets of the lines that repeat; they begin behind the header */
    size_t loops; /* how often they come, 1 or more */
    size_t len;   /* of the mail: final dot included */
};

/** size: octets before the line end of the final dot; at least what the header takes. RES_NOMEM. */
MUST_CHECK enum result load_content_init(struct load_content *c, size_t size);
void load_content_clear(struct load_content *c);

/** What comes at octet `at` < len, as far as it lies in one piece; never empty. */
struct span load_content_at(const struct load_content *c, size_t at);

#endif
