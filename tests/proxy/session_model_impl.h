/* tests/proxy/session_model_impl.h: what the files of the model share; private to them.
 *
 *   session_model.c           who looks on, and what must hold while nothing moves
 *   session_model_client.c    what the client says and hears
 *   session_model_mx.c        what the MX says and hears
 *   session_model_demands.c   where mail may go */
#ifndef STSGATE_TESTS_PROXY_SESSION_MODEL_IMPL_H
#define STSGATE_TESTS_PROXY_SESSION_MODEL_IMPL_H

#include "tests/proxy/session_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/smtp_command.h"

/* One wire each. */
void session_model_from_client(struct session_model *m, struct span bytes);
void session_model_to_client(struct session_model *m, struct span bytes);
void session_model_from_mx(struct session_model *m, struct span bytes);
void session_model_to_mx(struct session_model *m, struct span bytes);

/** What the session has read of the client and not answered. */
struct span session_model_stream(const struct session_model *m);

/** The command at the front of bytes that the client sent, line end included; 0: none is whole. */
size_t session_model_command(const struct session_model *m, struct span bytes,
                             struct smtp_command *out);

/** What the client waits for first: cmd, unless it is the end of message text or a line of an AUTH
 * exchange. The bytes of it, of a BDAT with its octets; 0: nothing that is whole. */
size_t session_model_asked(const struct session_model *m, struct smtp_command *cmd);

/** Message text up to its end; the CRLF of DATA counts (SMTP-042). 0: it has not ended. */
size_t session_model_text_end(struct span text);

/** Has the MAIL that parameter? */
bool session_model_says_requiretls(const struct smtp_command *cmd);

/** Does a local part, quotes included, mean this one? */
bool session_model_is(struct span local, const char *meant);

/** May the client say AUTH to this MX (EXT-008)? */
bool session_model_may_auth(const struct session_model *m);

#endif
