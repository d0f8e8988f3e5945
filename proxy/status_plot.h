/* proxy/status_plot.h: the recipients of the last day by what became of them, as numbers and as a
 * plot (proxy/status_page.h). Context: status process. */
#ifndef STSGATE_PROXY_STATUS_PLOT_H
#define STSGATE_PROXY_STATUS_PLOT_H

#include "proxy/status_state.h"

#include <stdio.h>

/** Sums of the last 24 hours; they are the legend of the plot, too. */
void status_plot_sums(const struct status_state *s, int64_t now_s, FILE *out);

/** Bars of STATUS_SLOT_S each as SVG, the present one at the right. Times are UTC. */
void status_plot(const struct status_state *s, int64_t now_s, FILE *out);

#endif
