#include "proxy/terminal.h"

void
terminal_text(FILE *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c >= ' ' && c <= '~')
            fputc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
}
