/* tests/proxy/test_session.c: whole conversations from tests/scenarios, cut in every way, and what
 * may befall a session in each of its states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/session_state.h"
#include "tests/proxy/session_script.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define TESTS_MAX 1600u
#define FILE_MAX (128u * 1024u)

/* ---- each state and each blow ---- */

#define OPEN_MAIL                                                                                  \
    "C: MAIL FROM:<a@b.example>\n"                                                                 \
    "c: 250 2.1.0 Sender OK\n"                                                                     \
    "C: RCPT TO:<u@c.example>\n"
#define SECURE OPEN_MAIL "secure mx.c.example\n"
#define AT_MAIL "hello\n" SECURE "m: MAIL FROM:<a@b.example>\n"
#define AT_RCPT AT_MAIL "M: 250 ok\nm: RCPT TO:<u@c.example>\n"
#define ACCEPTED AT_RCPT "M: 250 yes\nc: 250 yes\n"
#define REJECTED AT_RCPT "M: 550 no\nc: 550 no\nrecord outcome=rejected\n"
#define OTHER_DOMAIN                                                                               \
    "require d.example enforce names=mx.d.example mx=mx.d.example\n" REJECTED                      \
    "C: RCPT TO:<u@d.example>\nm: QUIT\nhung-up polite\n"
#define AT_AUTH                                                                                    \
    "set smart_host relay.example\nset auth_client 10.0.0.1\n"                                     \
    "require relay.example none names=relay.example\n"                                             \
    "connect ok\nM: 220 hi\nc: 220 hi\nC: EHLO client.example\nm: EHLO client.example\n"           \
    "M: 250-hi\nM: 250 STARTTLS\nm: STARTTLS\nM: 220 go\ntls relay.example\n"                      \
    "m: EHLO client.example\nM: 250-hi\nM: 250 AUTH PLAIN\nc: 250-hi\nc: 250 AUTH PLAIN\n"         \
    "C: AUTH PLAIN\nm: AUTH PLAIN\n"
#define AT_DATA ACCEPTED "C: DATA\nm: DATA\n"
#define AT_CONTENT AT_DATA "M: 354 go\nc: 354 go\nC: Subject: x\nm: Subject: x\n"
#define AT_FINAL AT_CONTENT "C: .\nm: .\n"

#define HELLO_CHUNKING                                                                             \
    "connect ok\nM: 220 hi\nc: 220 hi\nC: EHLO client.example\nm: EHLO client.example\n"           \
    "M: 250-mx\nM: 250 CHUNKING\nc: 250-mx\nc: 250 CHUNKING\n"
#define AT_CHUNK                                                                                   \
    HELLO_CHUNKING OPEN_MAIL "m: MAIL FROM:<a@b.example>\nM: 250 ok\nm: RCPT TO:<u@c.example>\n"   \
                             "M: 250 yes\nc: 250 yes\nC: BDAT 3\nC! ab\nm: BDAT 3\nm! ab\n"

/* MAIL and a recipient in flight. */
#define AT_GROUP                                                                                   \
    "connect ok\nM: 220 hi\nc: 220 hi\nC: EHLO client.example\nm: EHLO client.example\n"           \
    "M: 250-mx\nM: 250 PIPELINING\nc: 250-mx\nc: 250 PIPELINING\n" OPEN_MAIL                       \
    "m: MAIL FROM:<a@b.example>\nm: RCPT TO:<u@c.example>\n"

#define LOST "c: 421 4.4.2 gw.example Connection to destination lost\nhung-up abort\nclosed\n"
#define LOST_IN_DATA "c: 451 4.4.2 gw.example Connection to destination lost\n"
#define CLOSING "M: 421-4.3.2 so\nM: 421 4.3.2 long\nc: 421-4.3.2 so\nc: 421 4.3.2 long\n"
#define UNREACHABLE "c: 421 4.4.1 gw.example Destination 192.0.2.1 not reachable\nclosed\n"
#define IDLE "c: 421 4.4.2 gw.example Timeout\n"
#define FAILED "record outcome=failed\n"
#define SHUTDOWN "c: 421 4.3.2 gw.example Service not available\n"

enum blow { MX_CLOSES, MX_SAYS_421, MX_BABBLES, TIME_OUT, CLIENT_LEAVES, DRAIN, CUT, BLOWS };

static const char *const blow_names[BLOWS] = { "MX closes", "MX says 421",   "MX babbles",
                                               "time-out",  "client leaves", "drain",
                                               "cut" };

static const struct tour {
    enum session_state state;
    const char *prefix;
    const char *tails[BLOWS]; /* NULL: cannot happen there */
} tours[] = {
    { SES_CONNECT,
      "",
      { [MX_CLOSES] = "connect fail\n" UNREACHABLE,
        [TIME_OUT] = "timeout 30\n" UNREACHABLE,
        [CLIENT_LEAVES] = "client-close\nclosed\n",
        [DRAIN] = "drain\nconnect ok\nM: 220 hi\nc: 220 hi\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_GREETING,
      "connect ok\n",
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = "M: 421 4.3.2 bye\nc: 421 4.3.2 bye\nstate refused\nC: QUIT\n"
                        "m: QUIT\nM: 221 bye\nc: 221 bye\nclosed\n",
        [MX_BABBLES] = "M: HTTP/1.1 400 Bad Request\n" LOST,
        [TIME_OUT] = "timeout 301\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 554 no\nc: 554 no\nstate refused\nC: QUIT\nm: QUIT\n"
                  "M: 221 bye\nc: 221 bye\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_COMMAND,
      "hello\n",
      { [MX_CLOSES] = "mx-close\nstate lost\nhung-up abort\nC: NOOP\n" LOST,
        [MX_SAYS_421] = "M: 421 4.3.2 bye\nstate lost\nhung-up abort\nC: NOOP\n"
                        "c: 421 4.3.2 bye\nclosed\n",
        [MX_BABBLES] = "M: 250 what\nstate lost\nC: MAIL FROM:<a@b.example>\n" LOST,
        [TIME_OUT] = "timeout 300\n" IDLE "m: QUIT\nhung-up polite\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nm: QUIT\nhung-up polite\nclosed\n",
        [DRAIN] = "drain\n" SHUTDOWN "m: QUIT\nhung-up polite\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "m: QUIT\nclosed\n" } },
    { SES_EHLO,
      "connect ok\nM: 220 hi\nc: 220 hi\nC: EHLO me\nm: EHLO me\n",
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: 250-a\nM: 251 b\n" LOST,
        [TIME_OUT] = "timeout 302\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 250 hi\nc: 250 hi\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_HELO,
      "connect ok\nM: 220 hi\nc: 220 hi\nC: EHLO me\nm: EHLO me\nM: 502 eh\nm: HELO me\n",
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: 35x no\n" LOST,
        [TIME_OUT] = "timeout 302\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 250 hi\nc: 250 hi\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_REQUIREMENT,
      "require c.example none names=mx.c.example late\nhello\n" OPEN_MAIL,
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 250 early\n" LOST FAILED,
        [TIME_OUT] = "timeout 20\nc: 451 4.3.0 Policy service not available\nstate command\n"
                     "record outcome=refused reply=REP-065 domain=c.example by=gateway\n",
        [CLIENT_LEAVES] = "client-close\nm: QUIT\nhung-up polite\nclosed\n" FAILED,
        [DRAIN] = "drain\nanswer c.example unknown\n"
                  "c: 451 4.3.0 Policy service not available\nrecord reply=REP-065\n"
                  "state command\nC: RSET\nc: 250 2.0.0 OK\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "m: QUIT\nclosed\n" FAILED } },
    { SES_STARTTLS,
      "hello\n" OPEN_MAIL "m: STARTTLS\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 22\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nM: 220 go\ntls mx.c.example\nm: EHLO client.example\n"
                  "M: 250 hi\nm: MAIL FROM:<a@b.example>\nM: 250 ok\n"
                  "m: RCPT TO:<u@c.example>\nM: 250 ok\nc: 250 ok\nstate command\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_HANDSHAKE,
      "hello\n" OPEN_MAIL "m: STARTTLS\nM: 220 go\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_BABBLES] = "tls mx.c.example fails=garbage\nhung-up abort\nstate reconnect\n",
        [TIME_OUT] = "timeout 60\nhung-up abort\nstate reconnect\n",
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate handshake\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_EHLO_TLS,
      "hello\n" OPEN_MAIL "m: STARTTLS\nM: 220 go\ntls mx.c.example\nm: EHLO client.example\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 250-a\nM: 350 b\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate ehlo-tls\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_RECONNECT,
      OTHER_DOMAIN,
      { [MX_CLOSES] = "connect fail\n"
                      "c: 421 4.4.2 gw.example Connection to destination lost\nclosed\n" FAILED,
        [TIME_OUT] = "timeout 30\n"
                     "c: 421 4.4.2 gw.example Connection to destination lost\nclosed\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate reconnect\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_REGREETING,
      OTHER_DOMAIN "connect ok\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: SSH-2.0-x\n" LOST FAILED,
        [TIME_OUT] = "timeout 301\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate regreeting\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_REEHLO,
      OTHER_DOMAIN "connect ok\nM: 220 hi\nm: EHLO client.example\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M! 250 a\\0b\\r\\n\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate reehlo\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_CLEAN,
      REJECTED "C: DATA\nc: 554 5.5.1 No valid recipients\n" OPEN_MAIL "m: RSET\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 2500 ok\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate clean\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_MAIL,
      AT_MAIL,
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 354 what\n"
                       "c: 421 4.4.2 gw.example Connection to destination lost\nm: QUIT\n"
                       "closed\n" FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nstate mail\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_RCPT,
      AT_RCPT,
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 354 what\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nM: 250 ok\nc: 250 ok\nstate command\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_VOID,
      AT_GROUP "M: 451 4.7.1 later\n",
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 354 what\n" LOST FAILED,
        [TIME_OUT] = "timeout 302\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nM: 503 no MAIL\nc: 451 4.7.1 later\nrecord outcome=rejected\n"
                  "state command\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_PASS,
      ACCEPTED "C: RSET\nm: RSET\n" FAILED,
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: 354 what\n"
                       "c: 421 4.4.2 gw.example Connection to destination lost\nm: QUIT\nclosed\n",
        [TIME_OUT] = "timeout 302\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 250 ok\nc: 250 ok\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_DATA,
      AT_DATA,
      { [MX_CLOSES] = "mx-close\n" LOST FAILED,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 250 early\n" LOST FAILED,
        [TIME_OUT] = "timeout 120\n" LOST FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nM: 451 later\nc: 451 later\n" FAILED SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_CONTENT,
      AT_CONTENT,
      { [MX_CLOSES] = "mx-close\nstate swallow\nhung-up abort\nC: more\nC: .\n" LOST_IN_DATA
                      "state lost\n" FAILED "C: QUIT\n" LOST,
        [MX_SAYS_421] =
            "M: 421 4.3.2 bye\nstate swallow\nC: .\n" LOST_IN_DATA FAILED "C: NOOP\n" LOST,
        [MX_BABBLES] = "M: 250 thanks\nstate swallow\nhung-up abort\nC: .\n" LOST_IN_DATA FAILED
                       "state lost\n",
        [TIME_OUT] = "timeout 180\n" IDLE "hung-up abort\nclosed\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nC: .\nm: .\nM: 250 ok\nc: 250 ok\nrecord outcome=delivered\n" SHUTDOWN
                  "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_FINAL,
      AT_FINAL,
      { [MX_CLOSES] =
            "mx-close\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED "C: NOOP\n" LOST,
        [MX_SAYS_421] = "M: 421 4.3.2 bye\nc: 421 4.3.2 bye\nhung-up abort\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 354 more\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED,
        [TIME_OUT] = "timeout 600\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nstate final\nM: 250 ok\nc: 250 ok\nrecord "
                          "outcome=delivered\nm: QUIT\nhung-up polite\nclosed\n", /* A9, E19 */
        [DRAIN] =
            "drain\nM: 250 ok\nc: 250 ok\nrecord outcome=delivered\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_CHUNK,
      AT_CHUNK,
      { [MX_CLOSES] = "mx-close\nstate swallow\nhung-up abort\nC! c\n" LOST_IN_DATA
                      "state lost\n" FAILED "C: QUIT\n" LOST,
        [MX_SAYS_421] =
            "M: 421 4.3.2 bye\nstate swallow\nC! c\n" LOST_IN_DATA FAILED "C: NOOP\n" LOST,
        [MX_BABBLES] = "M: 250 thanks\nstate swallow\nhung-up abort\nC! c\n" LOST_IN_DATA FAILED
                       "state lost\n",
        [TIME_OUT] = "timeout 180\n" IDLE "hung-up abort\nclosed\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nC! c\nm! c\nM: 250 ok\nc: 250 ok\nC: BDAT 0 LAST\nm: BDAT 0 LAST\n"
                  "M: 250 ok\nc: 250 ok\nrecord outcome=delivered\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_CHUNK_REPLY,
      AT_CHUNK "C! c\nm! c\n",
      { [MX_CLOSES] =
            "mx-close\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED "C: NOOP\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nhung-up polite\nclosed\n" FAILED,
        [MX_BABBLES] = "M: 354 more\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED,
        [TIME_OUT] = "timeout 600\n" LOST_IN_DATA "hung-up abort\nstate lost\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n" FAILED,
        [DRAIN] = "drain\nM: 452 full\nc: 452 full\n" FAILED SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_DISCARD,
      HELLO_CHUNKING "C: BDAT 3\nC! ab\n",
      { [MX_CLOSES] = "mx-close\nstate swallow\nC! c\n" LOST_IN_DATA "state lost\n",
        [MX_SAYS_421] = "M: 421 bye\nstate swallow\nC! c\n" LOST_IN_DATA "C: NOOP\n" LOST,
        [MX_BABBLES] = "M: 250 what\nstate swallow\nC! c\n" LOST_IN_DATA "state lost\n",
        [TIME_OUT] = "timeout 300\n" IDLE "m: QUIT\nhung-up polite\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nm: QUIT\nhung-up polite\nclosed\n",
        [DRAIN] =
            "drain\nC! c\nc: 503 5.5.1 Bad sequence of commands\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "m: QUIT\nclosed\n" } },
    { SES_SWALLOW,
      AT_CONTENT "mx-close\n",
      { [TIME_OUT] = "timeout 300\n" IDLE "closed\n" FAILED,
        [CLIENT_LEAVES] = "client-close\nclosed\n" FAILED,
        [DRAIN] = "drain\nC: .\n" LOST_IN_DATA FAILED "state lost\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" FAILED } },
    { SES_LOST,
      "hello\nmx-close\n",
      { [TIME_OUT] = "timeout 300\n" IDLE "closed\n",
        [CLIENT_LEAVES] = "client-close\nclosed\n",
        [DRAIN] = "drain\n" SHUTDOWN "closed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_AUTH,
      AT_AUTH,
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: 2x\n" LOST,
        [TIME_OUT] = "timeout 302\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 535 no\nc: 535 no\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_AUTH_LINE,
      AT_AUTH "M: 334 go\nc: 334 go\n",
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: 250 early\n" LOST,
        [TIME_OUT] = "timeout 300\n" IDLE "hung-up abort\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nstate auth-line\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_CLIENT_TLS,
      "client starttls terminate\nhello-terminate\nC: STARTTLS\n"
      "c: 220 2.0.0 Ready to start TLS\n",
      { [MX_CLOSES] = "mx-close\nhung-up abort\nstate client-tls\nclient-tls ok\n"
                      "C: EHLO client.example\nconnect fail\n"
                      "c: 421 4.4.2 gw.example Connection to destination lost\nclosed\n",
        [MX_SAYS_421] = "M: 421 bye\nhung-up abort\nstate client-tls\n",
        [MX_BABBLES] = "M: 250 what\nhung-up abort\nstate client-tls\n",
        [TIME_OUT] = "timeout 60\nm: QUIT\nhung-up polite\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nm: QUIT\nhung-up polite\nclosed\n",
        [DRAIN] = "drain\nstate client-tls\nclient-tls ok\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n"
                "m: QUIT\nclosed\n" } },
    { SES_PASS_TLS,
      "client starttls passthrough\nhello-terminate\nC: STARTTLS\nm: STARTTLS\n",
      { [MX_CLOSES] = "mx-close\n" LOST,
        [MX_SAYS_421] = CLOSING "m: QUIT\nclosed\n",
        [MX_BABBLES] = "M: HTTP/1.1\n" LOST,
        [TIME_OUT] = "timeout 302\n" LOST,
        [CLIENT_LEAVES] = "client-close\nhung-up abort\nclosed\n",
        [DRAIN] = "drain\nM: 454 no\nc: 454 no\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
    { SES_REFUSED,
      "connect ok\nM: 554 no\nc: 554 no\n",
      { [MX_CLOSES] = "mx-close\nstate refused\nC: QUIT\n"
                      "c: 221 2.0.0 gw.example closing connection\nclosed\n",
        [MX_SAYS_421] = "M: 421 bye\nstate refused\nmx-close\nC: NOOP\n"
                        "c: 503 5.5.1 Bad sequence of commands\nC: QUIT\n"
                        "c: 221 2.0.0 gw.example closing connection\nclosed\n",
        [MX_BABBLES] = "M: 250 hello\nstate refused\nhung-up abort\nC: QUIT\n"
                       "c: 221 2.0.0 gw.example closing connection\nclosed\n",
        [TIME_OUT] = "timeout 300\n" IDLE "m: QUIT\nhung-up polite\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nm: QUIT\nhung-up polite\nclosed\n",
        [DRAIN] = "drain\n" SHUTDOWN "m: QUIT\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "m: QUIT\nclosed\n" } },
    { SES_QUIT,
      "hello\nC: QUIT\nm: QUIT\n",
      { [MX_CLOSES] = "mx-close\nc: 221 2.0.0 gw.example closing connection\nclosed\n",
        [MX_SAYS_421] = CLOSING "hung-up polite\nclosed\n",
        [MX_BABBLES] = "M: bye\nc: 221 2.0.0 gw.example closing connection\nclosed\n",
        [TIME_OUT] = "timeout 30\nc: 221 2.0.0 gw.example closing connection\nclosed\n",
        [CLIENT_LEAVES] = "client-close\nclosed\n",
        [DRAIN] = "drain\nM: 221 bye\nc: 221 bye\nhung-up polite\nclosed\n",
        [CUT] = "cut\n" SHUTDOWN "closed\n" } },
};

static void
test_blow(const struct tour *tour, enum blow blow)
{
    static char text[FILE_MAX];
    char name[80];

    snprintf(name, sizeof name, "%s, %s", session_state_name(tour->state), blow_names[blow]);
    snprintf(text, sizeof text, "%sstate %s\n%s", tour->prefix, session_state_name(tour->state),
             tour->tails[blow]);
    for (enum script_way way = WAY_WRITTEN; way <= WAY_MX_BYTES; way++)
        script_run(name, span_of(text), way);
}

static void
test_tour(void **state)
{
    const struct tour *tour = *state;

    for (unsigned blow = 0; blow < BLOWS; blow++)
        if (tour->tails[blow])
            test_blow(tour, (enum blow)blow);
}

static void
test_tours_are_whole(void **state)
{
    bool seen[SES_STATES] = {
        [SES_JUDGE] = true, [SES_GATHER] = true, [SES_AHEAD] = true, [SES_CLOSED] = true
    }; /* nothing waits there */

    (void)state;
    for (size_t i = 0; i < ROWS(tours); i++)
        seen[tours[i].state] = true;
    for (unsigned s = 0; s < SES_STATES; s++)
        assert_true(seen[s]);
}

/* ---- scripts ---- */

struct scenario {
    const char *name; /* within the glob */
    struct span text; /* owned */
    enum script_way way;
    char title[160];
};

static struct span
read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(FILE_MAX);
    size_t len;

    if (!file || !text) {
        perror(path);
        exit(1);
    }
    len = fread(text, 1, FILE_MAX, file);
    fclose(file);
    return span_make(text, len);
}

static void
test_scenario(void **state)
{
    const struct scenario *c = *state;

    script_run(c->name, c->text, c->way);
}

/* Every allocation fails in turn. */
static void
test_no_memory(void **state)
{
    const struct scenario *c = *state;
    unsigned n = 0;

    while (script_run_without_memory(c->name, c->text, n))
        n++;
    assert_true(n > 3);
}

static size_t
add_scenarios(const char *path, struct scenario *cases, struct CMUnitTest *tests, size_t n)
{
    struct span text = read_file(path);
    unsigned ways = script_ways(text);
    const char *name = strrchr(path, '/') + 1;

    for (unsigned way = 0; way <= SCRIPT_WAYS; way++) {
        struct scenario *c = &cases[n];

        if (n == TESTS_MAX || (way < SCRIPT_WAYS && !(ways & 1u << way)))
            continue;
        *c = (struct scenario){ .name = name, .text = text, .way = (enum script_way)way };
        snprintf(c->title, sizeof c->title, "%s %s", name,
                 way < SCRIPT_WAYS ? script_way_name(c->way) : "without memory");
        tests[n++] =
            (struct CMUnitTest){ .name = c->title,
                                 .test_func = way < SCRIPT_WAYS ? test_scenario : test_no_memory,
                                 .initial_state = c };
    }
    return n;
}

int
main(void)
{
    static struct CMUnitTest tests[TESTS_MAX + ROWS(tours) + 1];
    static struct scenario cases[TESTS_MAX];
    glob_t files;
    size_t n = 0;
    int failed;

    if (glob(TESTS_DIR "/scenarios/*.txt", 0, NULL, &files) != 0) {
        fprintf(stderr, "no scenarios in %s\n", TESTS_DIR "/scenarios");
        return 1;
    }
    for (size_t i = 0; i < files.gl_pathc; i++)
        n = add_scenarios(files.gl_pathv[i], cases, tests, n);
    for (size_t i = 0; i < ROWS(tours); i++)
        tests[n++] = (struct CMUnitTest){ .name = session_state_name(tours[i].state),
                                          .test_func = test_tour,
                                          .initial_state = (void *)(uintptr_t)&tours[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_tours_are_whole);
    failed = _cmocka_run_group_tests("session", tests, n, NULL, NULL);
    globfree(&files);
    return failed;
}
