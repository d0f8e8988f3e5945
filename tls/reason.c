#include "tls/reason.h"

void
reason_copy(char *dst, size_t size, const char *text)
{
    size_t n = 0;

    for (; text[n] && n + 1 < size; n++)
        dst[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    dst[n] = '\0';
}

void
reason_copy_error(char *dst, size_t size, const char *text)
{
    reason_copy(dst, size, text);
    for (char *c = dst; *c; c++) {
        if (*c == '_')
            *c = ' ';
        else if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
}
