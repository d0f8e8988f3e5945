/* proxy/rule_text.h: what a rule says, in one sentence. A verdict names the rule that decided by an
 * id and, where an RFC has it, the section ("STS-087 RFC 8461 4.2"); docs/rules.md is this table.
 * Context: any. Pure. */
#ifndef STSGATE_PROXY_RULE_TEXT_H
#define STSGATE_PROXY_RULE_TEXT_H

#include <stddef.h>

struct rule_text {
    const char *id;       /* "STS-087" */
    const char *standard; /* "RFC 8461 4.2"; "" for one of the gateway's own */
    const char *sentence; /* without a full stop, plain ASCII */
};

/** The sentence of a verdict's rule, which begins with an id; "" for one that is not known. Static
 * storage. */
const char *rule_sentence(const char *rule);

/** All of them, by id. Static storage. */
const struct rule_text *rule_texts(size_t *out_count);

#endif
