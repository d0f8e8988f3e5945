#include "policy/ext_name.h"

bool
ext_name_is_valid(struct span name)
{
    if (name.len == 0 || name.len > EXT_NAME_MAX || !ascii_is_alnum(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        char c = name.ptr[i];

        if (!ascii_is_alnum(c) && c != '_' && c != '-' && c != '.')
            return false;
    }
    return true;
}
