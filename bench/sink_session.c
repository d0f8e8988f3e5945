#include "bench/sink_session.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stream.h"

#define LINE_MAX_BYTES 1024u
#define REPLIES_MAX_BYTES 4096u /* more commands in one read than any peer here sends */
#define READS_PER_EVENT 4u      /* then other sessions have their turn */
#define SLOW_STEPS_PER_S 10u

static const char end_of_data[] = "\r\n.\r\n";
#define END_BYTES (sizeof end_of_data - 1)
#define DOT_OFFSET 2u

enum phase { PHASE_COMMANDS, PHASE_HANDSHAKE, PHASE_CONTENT, PHASE_QUIT };

struct sink_session {
    struct sink *sink;
    struct stream stream;
    enum phase phase;
    bool starttls; /* the 220 is to be sent, then the handshake begins */
    char line[LINE_MAX_BYTES];
    size_t line_len;
    char tail[END_BYTES - 1]; /* the octets before those that are read next */
    char replies[REPLIES_MAX_BYTES];
    size_t replies_len, replies_sent;
    ev_io io;
    ev_timer pause;
};

static void
end(struct sink_session *s)
{
    struct sink *sink = s->sink;

    ev_io_stop(sink->loop, &s->io);
    ev_timer_stop(sink->loop, &s->pause);
    stream_close(&s->stream);
    sink->open--;
    free(s);
}

/* ---- what is said ---- */

static void
reply(struct sink_session *s, const char *text)
{
    size_t len = strlen(text);

    if (len > sizeof s->replies - s->replies_len)
        return; /* it will miss it, and that is a failure of the run */
    memcpy(s->replies + s->replies_len, text, len);
    s->replies_len += len;
}

static bool
is_command(const struct sink_session *s, const char *verb)
{
    return strncasecmp(s->line, verb, strlen(verb)) == 0;
}

static void
greet(struct sink_session *s)
{
    reply(s, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n");
    if (s->sink->tls && !s->stream.ssl)
        reply(s, "250-STARTTLS\r\n");
    reply(s, "250 ENHANCEDSTATUSCODES\r\n");
}

static void
begin_content(struct sink_session *s)
{
    reply(s, "354 go on\r\n");
    s->phase = PHASE_CONTENT;
    memcpy(s->tail, "xx\r\n", sizeof s->tail); /* the line end of DATA counts as one before a dot */
}

static void
on_command(struct sink_session *s)
{
    if (is_command(s, "EHLO") || is_command(s, "HELO"))
        greet(s);
    else if (is_command(s, "STARTTLS") && s->sink->tls && !s->stream.ssl)
        s->starttls = true;
    else if (is_command(s, "DATA"))
        begin_content(s);
    else if (is_command(s, "QUIT"))
        s->phase = PHASE_QUIT;
    else if (is_command(s, "MAIL") || is_command(s, "RCPT") || is_command(s, "RSET") ||
             is_command(s, "NOOP"))
        reply(s, "250 2.0.0 fine\r\n");
    else
        reply(s, "502 5.5.2 not here\r\n");
    if (s->starttls)
        reply(s, "220 2.0.0 go on\r\n");
    if (s->phase == PHASE_QUIT)
        reply(s, "221 2.0.0 goodbye\r\n");
}

/* ---- what is read ---- */

/* One command from bytes, if it is complete; how many octets of them are used. */
static size_t
take_line(struct sink_session *s, const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t used = lf ? (size_t)(lf - bytes) + 1 : len;
    size_t room = sizeof s->line - 1 - s->line_len;
    size_t kept = used < room ? used : room;

    memcpy(s->line + s->line_len, bytes, kept);
    s->line_len += kept;
    s->line[s->line_len] = '\0';
    if (lf) {
        on_command(s);
        s->line_len = 0;
    }
    return used;
}

/* The end of the content in bytes, or NULL. Text has few dots: looking for them alone costs a tenth
 * of memmem(), which is a sixth of what this program does under bulk. */
static const char *
search_end(const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len, *dot;

    while ((dot = memchr(at, '.', (size_t)(end - at)))) {
        if (dot - bytes >= (ptrdiff_t)DOT_OFFSET &&
            end - dot >= (ptrdiff_t)(END_BYTES - DOT_OFFSET) &&
            memcmp(dot - DOT_OFFSET, end_of_data, END_BYTES) == 0)
            return dot - DOT_OFFSET;
        at = dot + 1;
    }
    return NULL;
}

/* Octets of bytes up to and with the end of the content; 0: it does not end here. */
static size_t
find_end(const struct sink_session *s, const char *bytes, size_t len)
{
    char seam[2 * sizeof s->tail];
    size_t ahead = len < sizeof s->tail ? len : sizeof s->tail;
    const char *found;

    memcpy(seam, s->tail, sizeof s->tail);
    memcpy(seam + sizeof s->tail, bytes, ahead);
    found = search_end(seam, sizeof s->tail + ahead);
    if (found)
        return (size_t)(found - seam) + END_BYTES - sizeof s->tail;
    found = search_end(bytes, len);
    return found ? (size_t)(found - bytes) + END_BYTES : 0;
}

static void
keep_tail(struct sink_session *s, const char *bytes, size_t len)
{
    size_t fresh = len < sizeof s->tail ? len : sizeof s->tail;

    memmove(s->tail, s->tail + fresh, sizeof s->tail - fresh);
    memcpy(s->tail + sizeof s->tail - fresh, bytes + len - fresh, fresh);
}

static size_t
take_content(struct sink_session *s, const char *bytes, size_t len)
{
    size_t used = find_end(s, bytes, len);

    if (used) {
        s->sink->mails++;
        s->phase = PHASE_COMMANDS;
        reply(s, "250 2.0.0 counted\r\n");
    } else {
        used = len;
        keep_tail(s, bytes, len);
    }
    s->sink->octets += used;
    return used;
}

/* False: what came is not what a client may send. */
static bool
take(struct sink_session *s, const char *bytes, size_t len)
{
    while (len && s->phase != PHASE_QUIT) {
        size_t used =
            s->phase == PHASE_CONTENT ? take_content(s, bytes, len) : take_line(s, bytes, len);

        bytes += used;
        len -= used;
        if (s->starttls && len)
            return false; /* behind STARTTLS nothing may come in clear */
    }
    return true;
}

/* ---- events ---- */

static void
watch(struct sink_session *s, int events)
{
    if (s->io.events == events && ev_is_active(&s->io))
        return;
    ev_io_stop(s->sink->loop, &s->io);
    ev_io_set(&s->io, s->stream.fd, events);
    ev_io_start(s->sink->loop, &s->io);
}

/* RES_OK: all is sent. */
static enum result
send_replies(struct sink_session *s)
{
    while (s->replies_sent < s->replies_len) {
        size_t n;
        enum result res = stream_write(&s->stream, s->replies + s->replies_sent,
                                       s->replies_len - s->replies_sent, &n);

        if (res != RES_OK)
            return res;
        s->replies_sent += n;
    }
    s->replies_sent = s->replies_len = 0;
    return RES_OK;
}

/* A slow reader rests after what it has read. */
static void
rest(struct sink_session *s, size_t n)
{
    ev_io_stop(s->sink->loop, &s->io);
    s->pause.repeat = (double)n / (double)s->sink->slow_per_s;
    ev_timer_again(s->sink->loop, &s->pause);
}

static size_t
read_size(const struct sink_session *s)
{
    uint64_t step = s->sink->slow_per_s / SLOW_STEPS_PER_S;

    if (s->phase != PHASE_CONTENT || s->sink->slow_per_s == 0 || step > SINK_READ_BYTES)
        return SINK_READ_BYTES;
    return step ? (size_t)step : 1;
}

static enum result
handshake(struct sink_session *s)
{
    enum result res = stream_handshake(&s->stream);
    struct sink *sink = s->sink;

    if (res != RES_OK)
        return res;
    s->phase = PHASE_COMMANDS;
    sink->tls_sessions++;
    sink->resumed += stream_is_resumed(&s->stream);
    sink->tls13_sessions += strcmp(stream_version(&s->stream), "TLSv1.3") == 0;
    snprintf(sink->cipher, sizeof sink->cipher, "%s", stream_cipher(&s->stream));
    return RES_OK;
}

/* Sends what is due, then what follows from its having been sent. */
static enum result
answer(struct sink_session *s)
{
    enum result res = send_replies(s);

    if (res != RES_OK)
        return res;
    if (s->phase == PHASE_QUIT)
        return RES_DENIED;
    if (s->starttls) {
        s->starttls = false;
        s->phase = PHASE_HANDSHAKE;
        return stream_start_tls(&s->stream, s->sink->tls);
    }
    return RES_OK;
}

/* One read and its answers. RES_OK: there may be more. */
static enum result
step(struct sink_session *s, size_t *out_content)
{
    enum result res;
    size_t n = 0;

    *out_content = 0;
    if (s->phase == PHASE_HANDSHAKE)
        return handshake(s);
    res = answer(s);
    if (res != RES_OK || s->phase == PHASE_HANDSHAKE)
        return res;
    if (s->phase == PHASE_CONTENT)
        *out_content = 1;
    res = stream_read(&s->stream, s->sink->scratch, read_size(s), &n);
    *out_content *= n;
    if (res != RES_OK)
        return res;
    return take(s, s->sink->scratch, n) ? answer(s) : RES_TEMPFAIL;
}

static void
go_on(struct sink_session *s)
{
    enum result res = RES_OK;
    size_t content = 0;

    for (unsigned i = 0; res == RES_OK && (i < READS_PER_EVENT || stream_has_pending(&s->stream));
         i++) {
        res = step(s, &content);
        if (res == RES_OK && content && s->sink->slow_per_s) {
            rest(s, content);
            return;
        }
    }
    if (res == RES_OK || res == RES_AGAIN) {
        watch(s, res == RES_AGAIN && s->stream.want_write ? EV_WRITE : EV_READ);
        return;
    }
    if (s->phase != PHASE_QUIT && (res != RES_DENIED || s->phase == PHASE_CONTENT))
        s->sink->failed++; /* an end between mails is none of our business */
    end(s);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    go_on(w->data);
}

static void
on_pause_over(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    go_on(w->data);
}

void
sink_session_start(struct sink *sink, int fd)
{
    struct sink_session *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->sink = sink;
    stream_open(&s->stream, fd);
    ev_io_init(&s->io, on_io, fd, EV_READ);
    ev_init(&s->pause, on_pause_over);
    s->io.data = s->pause.data = s;
    sink->sessions++;
    sink->open++;
    reply(s, "220 sink ESMTP\r\n");
    go_on(s);
}
