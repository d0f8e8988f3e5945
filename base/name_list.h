/* base/name_list.h: an ordered list of short texts: host names, mx patterns, subject alternative
 * names. Context: any process, one thread at a time per object. */
#ifndef STSGATE_BASE_NAME_LIST_H
#define STSGATE_BASE_NAME_LIST_H

#include "base/result.h"
#include "base/span.h"

struct name_list {
    char **names; /* owned, each NUL-terminated */
    size_t count;
};

/** Append a copy of name, which holds no NUL (RES_SYNTAX). RES_NOMEM; the list is then unchanged.
 */
MUST_CHECK enum result name_list_add(struct name_list *list, struct span name);

/** Is name there, without regard to case? */
bool name_list_has(const struct name_list *list, const char *name);

/** The same names in the same order, each to the octet? */
bool name_list_equal(const struct name_list *a, const struct name_list *b);

/** Replace *to, which must be empty, by a copy of from. RES_NOMEM: *to stays empty. */
MUST_CHECK enum result name_list_copy(const struct name_list *from, struct name_list *to);

/** Free the names; the list is empty and may be used again. */
void name_list_clear(struct name_list *list);

#endif
