/* proxy/status_page.h: the one page for people: HTML without anything from elsewhere, and of use
 * without JavaScript. All that comes from outside is escaped (html_text()), so that a hostile name
 * is shown as what it is. Context: status process. */
#ifndef STSGATE_PROXY_STATUS_PAGE_H
#define STSGATE_PROXY_STATUS_PAGE_H

#include "proxy/status_state.h"

#include <stdio.h>

#define STATUS_PAGE_REFRESH_S 30

/** nonce: of the style and the script, as the header Content-Security-Policy names it. */
void status_page_write(const struct status_state *s, const char *nonce, int64_t now_ms,
                       int64_t now_s, FILE *out);

/** Text within an element or a quoted attribute: & < > " ' become references, and what is no
 * printable ASCII a replacement character. */
void html_text(FILE *out, const char *text);

#endif
