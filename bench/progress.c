#include "bench/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BAR_COLUMNS 40u

void
progress_draw(uint64_t done, uint64_t total, double mails_per_s)
{
    char bar[BAR_COLUMNS + 1];
    uint64_t filled = total ? done * BAR_COLUMNS / total : 0;

    if (!isatty(STDERR_FILENO))
        return;
    for (unsigned i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_COLUMNS] = '\0';
    fprintf(stderr, "\r[%s] %" PRIu64 "/%" PRIu64 " mails, %.0f/s  ", bar, done, total,
            mails_per_s);
}

void
progress_clear(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
