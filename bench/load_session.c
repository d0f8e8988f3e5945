#include "bench/load_session.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/stream.h"

#define LINE_MAX_BYTES 512u /* RFC 5321 4.5.3.1.5 */
#define READ_BYTES 2048u
#define OUT_MAX_BYTES (2 * LOAD_COMMAND_MAX + 16u)

enum state {
    LOAD_CONNECT,
    LOAD_GREETING,
    LOAD_EHLO,
    LOAD_STARTTLS,
    LOAD_HANDSHAKE,
    LOAD_EHLO_TLS,
    LOAD_MAIL,
    LOAD_RCPT,
    LOAD_DATA,
    LOAD_CONTENT, /* the reply to the final dot is awaited */
    LOAD_HELD,
    LOAD_QUIT,
    LOAD_ENDED,
};

static const char *const state_names[] = {
    [LOAD_CONNECT] = "connect",     [LOAD_GREETING] = "greeting",
    [LOAD_EHLO] = "EHLO",           [LOAD_STARTTLS] = "STARTTLS",
    [LOAD_HANDSHAKE] = "handshake", [LOAD_EHLO_TLS] = "EHLO under TLS",
    [LOAD_MAIL] = "MAIL",           [LOAD_RCPT] = "RCPT",
    [LOAD_DATA] = "DATA",           [LOAD_CONTENT] = "final dot",
    [LOAD_HELD] = "rest",           [LOAD_QUIT] = "QUIT",
    [LOAD_ENDED] = "end",
};

struct load_session {
    struct load *load;
    struct stream stream;
    enum state state;
    bool was_ready;
    uint64_t mails_left;
    int64_t due_ns, mail_ns;
    char out[OUT_MAX_BYTES];
    size_t out_len, out_sent;
    size_t content_left; /* of the mail that is being sent */
    char line[LINE_MAX_BYTES];
    size_t line_len;
    ev_io io;
    ev_timer timer;
};

/* ---- the end ---- */

static void
end(struct load_session *s)
{
    struct load *load = s->load;

    ev_io_stop(load->loop, &s->io);
    ev_timer_stop(load->loop, &s->timer);
    stream_close(&s->stream);
    s->state = LOAD_ENDED;
    load->ended(load->arg, s, s->was_ready);
    free(s);
}

static void
fail(struct load_session *s, const char *why)
{
    struct load *load = s->load;

    if (load->failed++ == 0)
        snprintf(load->first_error, sizeof load->first_error, "%s: %.120s", state_names[s->state],
                 why);
    s->state = LOAD_ENDED;
}

/* ---- what is said ---- */

static void
say(struct load_session *s, const char *text)
{
    size_t len = strlen(text);

    memcpy(s->out + s->out_len, text, len); /* a mail's three commands fit, by OUT_MAX_BYTES */
    s->out_len += len;
}

static void
begin_mail(struct load_session *s)
{
    if (!s->was_ready) {
        s->was_ready = true;
        s->load->ready(s->load->arg, s);
    }
    s->state = LOAD_MAIL;
    s->mail_ns = bench_now_ns();
    say(s, s->load->mail);
    if (s->load->pipelining) {
        say(s, s->load->rcpt);
        say(s, "DATA\r\n");
    }
}

static void
end_mail(struct load_session *s)
{
    struct load *load = s->load;
    int64_t now = bench_now_ns();

    load->mails++;
    load->octets += load->content.len;
    histogram_add(&load->mail_ns, now - s->mail_ns);
    if (--s->mails_left == 0) {
        histogram_add(&load->session_ns, now - s->due_ns);
        s->state = LOAD_QUIT;
        say(s, "QUIT\r\n");
    } else if (load->hold && s->mails_left + 1 == load->mails_per_session) {
        s->state = LOAD_HELD;
        ev_timer_stop(load->loop, &s->timer);
        load->held(load->arg, s);
    } else {
        begin_mail(s);
    }
}

static void
say_ehlo(struct load_session *s, enum state state)
{
    s->state = state;
    say(s, "EHLO load.lab.test\r\n");
}

/* ---- what is heard ---- */

/* Which reply takes the dialogue further. */
static bool
is_expected(enum state state, char digit)
{
    return digit == (state == LOAD_DATA ? '3' : '2');
}

static void
on_reply(struct load_session *s)
{
    if (!is_expected(s->state, s->line[0])) {
        fail(s, s->line);
        return;
    }
    switch (s->state) {
    case LOAD_GREETING:
        say_ehlo(s, LOAD_EHLO);
        break;
    case LOAD_EHLO:
        if (!s->load->tls) {
            begin_mail(s);
            break;
        }
        s->state = LOAD_STARTTLS;
        say(s, "STARTTLS\r\n");
        break;
    case LOAD_STARTTLS:
        s->state = LOAD_HANDSHAKE;
        if (stream_start_tls(&s->stream, s->load->tls) != RES_OK)
            fail(s, "no memory");
        break;
    case LOAD_EHLO_TLS:
        begin_mail(s);
        break;
    case LOAD_MAIL:
        s->state = LOAD_RCPT;
        if (!s->load->pipelining)
            say(s, s->load->rcpt);
        break;
    case LOAD_RCPT:
        s->state = LOAD_DATA;
        if (!s->load->pipelining)
            say(s, "DATA\r\n");
        break;
    case LOAD_DATA:
        s->state = LOAD_CONTENT;
        s->content_left = s->load->content.len;
        break;
    case LOAD_CONTENT:
        end_mail(s);
        break;
    case LOAD_QUIT:
        s->state = LOAD_ENDED;
        break;
    case LOAD_CONNECT:
    case LOAD_HANDSHAKE:
    case LOAD_HELD:
    case LOAD_ENDED:
        fail(s, "a reply that nobody asked for");
        break;
    }
}

static void
on_octets(struct load_session *s, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && s->state != LOAD_ENDED; i++) {
        if (s->line_len < sizeof s->line - 1)
            s->line[s->line_len++] = bytes[i];
        if (bytes[i] != '\n')
            continue;
        s->line[s->line_len] = '\0';
        s->line[strcspn(s->line, "\r\n")] = '\0';
        s->line_len = 0;
        if (s->line[0] && s->line[1] && s->line[2] && s->line[3] == '-')
            continue; /* the reply goes on */
        on_reply(s);
    }
}

/* ---- moving octets ---- */

static enum result
send_commands(struct load_session *s)
{
    while (s->out_sent < s->out_len) {
        size_t n;
        enum result res =
            stream_write(&s->stream, s->out + s->out_sent, s->out_len - s->out_sent, &n);

        if (res != RES_OK)
            return res;
        s->out_sent += n;
    }
    s->out_len = s->out_sent = 0;
    return RES_OK;
}

static enum result
send_content(struct load_session *s)
{
    const struct load_content *content = &s->load->content;

    while (s->content_left) {
        struct span part = load_content_at(content, content->len - s->content_left);
        size_t n;
        enum result res = stream_write(&s->stream, part.ptr, part.len, &n);

        if (res != RES_OK)
            return res;
        s->content_left -= n;
    }
    return RES_OK;
}

static enum result
send_all(struct load_session *s)
{
    enum result res = send_commands(s);

    return res == RES_OK ? send_content(s) : res;
}

static enum result
handshake(struct load_session *s)
{
    enum result res = stream_handshake(&s->stream);
    struct load *load = s->load;

    if (res != RES_OK)
        return res;
    load->tls_sessions++;
    load->resumed += stream_is_resumed(&s->stream);
    snprintf(load->tls_name, sizeof load->tls_name, "%s %s", stream_version(&s->stream),
             stream_cipher(&s->stream));
    say_ehlo(s, LOAD_EHLO_TLS);
    return RES_OK;
}

static enum result
connected(struct load_session *s)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(s->stream.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        fail(s, strerrordesc_np(error));
        return RES_TEMPFAIL;
    }
    s->state = LOAD_GREETING;
    return RES_OK;
}

static enum result
step(struct load_session *s)
{
    char bytes[READ_BYTES];
    enum result res;
    size_t n;

    if (s->state == LOAD_CONNECT)
        return connected(s);
    if (s->state == LOAD_HANDSHAKE)
        return handshake(s);
    res = send_all(s);
    if (res != RES_OK)
        return res;
    res = stream_read(&s->stream, bytes, sizeof bytes, &n);
    if (res == RES_OK)
        on_octets(s, bytes, n);
    return res;
}

static void
watch(struct load_session *s, int events)
{
    if (s->io.events == events && ev_is_active(&s->io))
        return;
    ev_io_stop(s->load->loop, &s->io);
    ev_io_set(&s->io, s->stream.fd, events);
    ev_io_start(s->load->loop, &s->io);
}

static void
go_on(struct load_session *s)
{
    enum result res = RES_OK;

    while (res == RES_OK && s->state != LOAD_ENDED)
        res = step(s);
    if (s->state != LOAD_ENDED && res == RES_AGAIN) {
        watch(s, s->stream.want_write ? EV_WRITE : EV_READ);
        if (s->state != LOAD_HELD)
            ev_timer_again(s->load->loop, &s->timer);
        return;
    }
    if (s->state != LOAD_ENDED)
        fail(s, res == RES_DENIED ? "the server has closed" : "broken");
    end(s);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    go_on(w->data);
}

static void
on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct load_session *s = w->data;

    (void)loop, (void)revents;
    fail(s, "timed out");
    end(s);
}

void
load_session_release(struct load_session *s)
{
    begin_mail(s);
    ev_timer_again(s->load->loop, &s->timer);
    watch(s, EV_READ | EV_WRITE); /* it begins from the loop, so that a failure meets no caller */
}

void
load_session_start(struct load *load, int64_t due_ns)
{
    int fd = socket(load->to.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct load_session *s = calloc(1, sizeof *s);

    if (fd < 0 || !s)
        program_die("a session");
    s->load = load;
    s->mails_left = load->mails_per_session;
    s->due_ns = due_ns;
    stream_open(&s->stream, fd);
    ev_io_init(&s->io, on_io, fd, EV_WRITE);
    ev_init(&s->timer, on_timeout);
    s->timer.repeat = load->timeout_s;
    s->io.data = s->timer.data = s;
    if (connect(fd, (const struct sockaddr *)&load->to.addr, load->to.len) != 0 &&
        errno != EINPROGRESS)
        ev_feed_fd_event(load->loop, fd, EV_WRITE); /* SO_ERROR is gone; reading will say it */
    ev_io_start(load->loop, &s->io);
    ev_timer_again(load->loop, &s->timer);
}
