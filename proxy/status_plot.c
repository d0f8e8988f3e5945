#include "proxy/status_plot.h"

#include <inttypes.h>

#define BAR_WIDTH 6u
#define PLOT_WIDTH (STATUS_SLOTS * BAR_WIDTH)
#define PLOT_HEIGHT 140u
#define MARGIN 14u   /* above, for the highest number */
#define AXIS 18u     /* below, for the times */
#define LEFT 44u     /* for the numbers */
#define TICK_S 14400 /* between two times of day */

static const struct {
    const char *css, *title;
} classes[STATUS_CLASSES] = {
    [STATUS_PROVEN] = { "proven", "proven" },           [STATUS_TLS] = { "tls", "TLS, not proven" },
    [STATUS_CLEAR] = { "clear", "in clear" },           [STATUS_REFUSED] = { "refused", "refused" },
    [STATUS_OTHER] = { "other", "rejected or failed" },
};

static uint64_t
sum_of(const uint64_t counts[STATUS_CLASSES])
{
    uint64_t sum = 0;

    for (unsigned i = 0; counts && i < STATUS_CLASSES; i++)
        sum += counts[i];
    return sum;
}

void
status_plot_sums(const struct status_state *s, int64_t now_s, FILE *out)
{
    uint64_t day[STATUS_CLASSES] = { 0 }, all;

    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        const uint64_t *counts = status_slot(s, now_s, back);

        for (unsigned i = 0; counts && i < STATUS_CLASSES; i++)
            day[i] += counts[i];
    }
    all = sum_of(day);
    fputs("<div class=\"figures\">", out);
    for (unsigned i = 0; i < STATUS_CLASSES; i++) {
        fprintf(out, "<div><i class=\"%s\"></i><b>%" PRIu64 "</b>", classes[i].css, day[i]);
        if (all)
            fprintf(out, "<small>%.1f %%</small>", (double)day[i] * 100. / (double)all);
        fprintf(out, "<br>%s</div>", classes[i].title);
    }
    fputs("</div>\n", out);
}

/* One slot as a stack; refusals lie at the bottom, where they are seen. */
static void
put_bar(FILE *out, const uint64_t counts[STATUS_CLASSES], unsigned x, uint64_t highest,
        int64_t at_s)
{
    static const enum status_class order[STATUS_CLASSES] = { STATUS_REFUSED, STATUS_CLEAR,
                                                             STATUS_OTHER, STATUS_TLS,
                                                             STATUS_PROVEN };
    double y = MARGIN + PLOT_HEIGHT;

    fprintf(out, "<g><title>%02u:%02u UTC", (unsigned)(at_s % 86400 / 3600),
            (unsigned)(at_s % 3600 / 60));
    for (unsigned i = 0; i < STATUS_CLASSES; i++)
        if (counts[i])
            fprintf(out, ", %s %" PRIu64, classes[i].css, counts[i]);
    fputs("</title>", out);
    for (unsigned i = 0; i < STATUS_CLASSES; i++) {
        enum status_class class = order[i];
        double height = (double)counts[class] * PLOT_HEIGHT / (double)highest;

        if (!counts[class])
            continue;
        y -= height;
        fprintf(out, "<rect class=\"%s\" x=\"%u\" y=\"%.2f\" width=\"%u\" height=\"%.2f\"/>",
                classes[class].css, x, y, BAR_WIDTH - 1, height);
    }
    fputs("</g>", out);
}

/* Lines at nothing, half and all of the highest bar; times of day below them. */
static void
put_axes(FILE *out, int64_t slot, uint64_t highest)
{
    for (unsigned i = 0; i <= 2; i++) {
        unsigned y = MARGIN + PLOT_HEIGHT * i / 2;

        fprintf(out, "<path class=\"line\" d=\"M%u %uh%u\"/>", LEFT, y, PLOT_WIDTH);
        if (i != 1 || highest % 2 == 0)
            fprintf(out, "<text x=\"%u\" y=\"%u\" text-anchor=\"end\">%" PRIu64 "</text>", LEFT - 6,
                    y + 4, highest * (2 - i) / 2);
    }
    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        int64_t at_s = (slot - back) * STATUS_SLOT_S;

        if (at_s % TICK_S == 0)
            fprintf(out, "<text x=\"%u\" y=\"%u\" text-anchor=\"middle\">%02u:00</text>",
                    LEFT + (STATUS_SLOTS - 1 - back) * BAR_WIDTH, MARGIN + PLOT_HEIGHT + AXIS - 4,
                    (unsigned)(at_s % 86400 / 3600));
    }
}

void
status_plot(const struct status_state *s, int64_t now_s, FILE *out)
{
    int64_t slot = now_s / STATUS_SLOT_S;
    uint64_t highest = 1;

    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        uint64_t sum = sum_of(status_slot(s, now_s, back));

        if (sum > highest)
            highest = sum;
    }
    fprintf(out,
            "<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"Recipients per ten minutes over "
            "the last day, at most %" PRIu64 "\">",
            LEFT + PLOT_WIDTH + 16, MARGIN + PLOT_HEIGHT + AXIS, highest);
    put_axes(out, slot, highest);
    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        const uint64_t *counts = status_slot(s, now_s, back);

        if (counts)
            put_bar(out, counts, LEFT + (STATUS_SLOTS - 1 - back) * BAR_WIDTH, highest,
                    (slot - back) * STATUS_SLOT_S);
    }
    fputs("</svg><p class=\"sub\">Bars of ten minutes, times in UTC; the last one is now.</p>\n",
          out);
}
