#include "base/name_list.h"

#include <stdlib.h>

enum result
name_list_add(struct name_list *list, struct span name)
{
    char **names, *copy;

    if (span_find(name, '\0') != name.len)
        return RES_SYNTAX;
    copy = malloc(name.len + 1);
    if (!copy)
        return RES_NOMEM;
    if (name.len)
        memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    /* Room doubles at each power of two, so that long lists stay linear. */
    if ((list->count & (list->count - 1)) == 0) {
        size_t room = list->count ? list->count * 2 : 1;

        names = realloc(list->names, room * sizeof *names);
        if (!names) {
            free(copy);
            return RES_NOMEM;
        }
        list->names = names;
    }
    list->names[list->count++] = copy;
    return RES_OK;
}

bool
name_list_has(const struct name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (span_equal_nocase(span_of(list->names[i]), span_of(name)))
            return true;
    return false;
}

bool
name_list_equal(const struct name_list *a, const struct name_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

enum result
name_list_copy(const struct name_list *from, struct name_list *to)
{
    for (size_t i = 0; i < from->count; i++) {
        enum result res = name_list_add(to, span_of(from->names[i]));

        if (res != RES_OK) {
            name_list_clear(to);
            return res;
        }
    }
    return RES_OK;
}

void
name_list_clear(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct name_list){ 0 };
}
