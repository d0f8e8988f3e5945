#include "tests/proxy/session_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/ehlo_memory.h"
#include "tests/alloc_fail.h"
#include "tests/proxy/session_world.h"

#define WORDS_MAX 24u
#define LINES_MAX 1024u
#define TEXT_MAX (256u * 1024u)

/* Most conversations begin so. */
static const char hello[] = "connect ok\n"
                            "M: 220 mx.example ESMTP\n"
                            "c: 220 mx.example ESMTP\n"
                            "C: EHLO client.example\n"
                            "m: EHLO client.example\n"
                            "M: 250-mx.example at your service\n"
                            "M: 250-PIPELINING\n"
                            "M: 250-SIZE 1000\n"
                            "M: 250-8BITMIME\n"
                            "M: 250-DSN\n"
                            "M: 250-STARTTLS\n"
                            "M: 250 ENHANCEDSTATUSCODES\n"
                            "c: 250-mx.example at your service\n"
                            "c: 250-PIPELINING\n"
                            "c: 250-SIZE\n"
                            "c: 250-8BITMIME\n"
                            "c: 250-DSN\n"
                            "c: 250 ENHANCEDSTATUSCODES\n";
static const char hello_clear[] = "connect ok\n"
                                  "M: 220 mx.example ESMTP\n"
                                  "c: 220 mx.example ESMTP\n"
                                  "C: EHLO client.example\n"
                                  "m: EHLO client.example\n"
                                  "M: 250-mx.example at your service\n"
                                  "M: 250 8BITMIME\n"
                                  "c: 250-mx.example at your service\n"
                                  "c: 250 8BITMIME\n";
/* The client may begin TLS here: "client starttls terminate". */
static const char hello_terminate[] = "connect ok\n"
                                      "M: 220 mx.example ESMTP\n"
                                      "c: 220 mx.example ESMTP\n"
                                      "C: EHLO client.example\n"
                                      "m: EHLO client.example\n"
                                      "M: 250-mx.example at your service\n"
                                      "M: 250 STARTTLS\n"
                                      "c: 250-mx.example at your service\n"
                                      "c: 250 STARTTLS\n";
static const char again[] = "connect ok\n"
                            "M: 220 mx.example ESMTP\n"
                            "m: EHLO client.example\n"
                            "M: 250-mx.example at your service\n"
                            "M: 250 STARTTLS\n";
static const char before_tls[] = "m: STARTTLS\n"
                                 "M: 220 go ahead\n";
static const char after_tls[] = "m: EHLO client.example\n"
                                "M: 250-mx.example at your service\n"
                                "M: 250-SIZE 9000\n"
                                "M: 250-8BITMIME\n"
                                "M: 250-DSN\n"
                                "M: 250 ENHANCEDSTATUSCODES\n";

struct line {
    unsigned number;
    char *text; /* owned */
};

struct script {
    const char *name;
    enum script_way way;
    bool loose;
    struct world *w;
    struct line lines[LINES_MAX];
    size_t count;
    const struct line *now;
    bool wants_records;
    char bytes[TEXT_MAX]; /* of the line, unescaped */
    size_t len;
};

const char *
script_way_name(enum script_way way)
{
    static const char *const names[SCRIPT_WAYS] = { [WAY_WRITTEN] = "written",
                                                    [WAY_BYTES] = "bytes",
                                                    [WAY_MX_BYTES] = "mx-bytes",
                                                    [WAY_WHOLE] = "whole" };

    return names[way];
}

/* ---- reading ---- */

static void
add_lines(struct script *s, const char *text, unsigned number, bool counting)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        char *copy = strndup(text, len);

        assert_non_null(copy);
        if (span_starts(span_of(copy), span_of("secure "))) { /* a macro with an argument */
            char *tls;

            assert_true(asprintf(&tls, "tls %s\n", copy + strlen("secure ")) > 0);
            add_lines(s, before_tls, number, false);
            add_lines(s, tls, number, false);
            add_lines(s, after_tls, number, false);
            free(tls);
            free(copy);
        } else if (strcmp(copy, "hello") == 0 || strcmp(copy, "hello-clear") == 0 ||
                   strcmp(copy, "hello-again") == 0 || strcmp(copy, "hello-terminate") == 0) {
            add_lines(s,
                      copy[5] == '\0'  ? hello
                      : copy[6] == 'c' ? hello_clear
                      : copy[6] == 't' ? hello_terminate
                                       : again,
                      number, false);
            free(copy);
        } else {
            assert_true(s->count < LINES_MAX);
            s->lines[s->count++] = (struct line){ number, copy };
            s->wants_records |= span_starts(span_of(copy), span_of("record "));
        }
        text += len + (text[len] == '\n');
        number += counting;
    }
}

/* "*20" behind the letter of a line: that often. */
static unsigned
times_of(const char *text)
{
    return text[1] == '*' ? (unsigned)strtoul(text + 2, NULL, 10) : 1;
}

static const char *
body_of(const char *text)
{
    text += strcspn(text, ":!") + 1;
    return *text == ' ' ? text + 1 : text;
}

static unsigned
hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Fills s->bytes with what a line of bytes says: "C: text" has CRLF behind it, "C! text" has not.
 */
static void
unescape(struct script *s, const char *line)
{
    unsigned times = times_of(line);
    bool crlf = line[strcspn(line, ":!")] == ':';

    s->len = 0;
    for (unsigned i = 0; i < times; i++) {
        for (const char *at = body_of(line); *at; at++) {
            char c = *at;

            if (c == '\\') {
                c = *++at;
                c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : c;
                if (c == 'x') {
                    c = (char)(hex(at[1]) << 4 | hex(at[2]));
                    at += 2;
                }
            }
            assert_true(s->len + 3 < sizeof s->bytes);
            s->bytes[s->len++] = c;
        }
        if (crlf) {
            s->bytes[s->len++] = '\r';
            s->bytes[s->len++] = '\n';
        }
    }
}

/* Splits text at blanks, in place. */
static size_t
split(char *text, char *words[WORDS_MAX])
{
    size_t count = 0;
    char *save;

    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        assert_true(count < WORDS_MAX);
        words[count++] = word;
    }
    return count;
}

/* ---- expecting ---- */

/* Bytes as they would stand in a script, the first of them. */
static const char *
show(struct span bytes, char text[400])
{
    size_t len = 0;

    for (size_t i = 0; i < bytes.len && len < 390; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];

        if (c >= ' ' && c <= '~')
            len += (size_t)snprintf(text + len, 400 - len, "%c", c);
        else
            len += (size_t)snprintf(text + len, 400 - len,
                                    c == '\r'   ? "\\r"
                                    : c == '\n' ? "\\n"
                                                : "\\x%02x",
                                    c);
    }
    text[len] = '\0';
    return text;
}

#define FAIL(s, ...)                                                                               \
    do {                                                                                           \
        char what_[1200];                                                                          \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                \
        fail_msg("%s:%u (%s): \"%s\": %s", (s)->name, (s)->now->number, script_way_name((s)->way), \
                 (s)->now->text, what_);                                                           \
    } while (0)

static void
expect_bytes(struct script *s, struct pipe_bytes *from)
{
    struct span got = pipe_span(from);
    char text[400];

    if (s->loose)
        return;
    if (!span_starts(got, span_make(s->bytes, s->len)))
        FAIL(s, "there is \"%s\"", show(got, text));
    pipe_consume(from, s->len);
}

/* Before the next thing happens all that was said has been expected. */
static void
expect_silence(struct script *s)
{
    char client[400], mx[400];

    if (s->loose || s->way == WAY_WHOLE)
        return;
    if (pipe_span(&s->w->client).len || pipe_span(&s->w->mx).len)
        FAIL(s, "unexpected: to the client \"%s\", to the MX \"%s\"",
             show(pipe_span(&s->w->client), client), show(pipe_span(&s->w->mx), mx));
}

static bool
has_word(const char *line, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = line; (at = strstr(at, word)); at++)
        if ((at == line || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void
expect_words(struct script *s, const char *line, char **words, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (!has_word(line, words[i]))
            FAIL(s, "no %s in \"%s\"", words[i], line);
}

static void
expect(struct script *s, bool holds, const char *what)
{
    if (!holds && !s->loose)
        FAIL(s, "%s (state %s)", what, session_state_name(session_state(s->w->session)));
}

/* ---- what scripts can do ---- */

static void
add_names(struct name_list *list, char *names)
{
    char *save;

    for (char *n = strtok_r(names, ",", &save); n; n = strtok_r(NULL, ",", &save))
        (void)!name_list_add(list, span_of(n));
}

static uint16_t
version_of(const char *text)
{
    static const uint16_t versions[] = { TLS_VERSION_1_0, TLS_VERSION_1_1, TLS_VERSION_1_2,
                                         TLS_VERSION_1_3 };

    assert_true(text[0] == '1' && text[1] == '.' && text[2] >= '0' && text[2] <= '3');
    return versions[text[2] - '0'];
}

/* The value of "key=value", or NULL when word is another key. */
static char *
value_of(char *word, const char *key)
{
    size_t len = strlen(key);

    return strncmp(word, key, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

/* "tlsa=ab": a record for each of two keys; a capital letter is one that nobody can use. */
static void
add_tlsa(struct requirement *req, const char *keys)
{
    struct dane_host *host = calloc(1, sizeof *host);

    if (!host)
        return;
    req->dane.state = DANE_SECURE;
    req->dane.mx_secure = true;
    req->dane.hosts = host;
    req->dane.host_count = 1;
    req->tls_floor = TLS_VERSION_1_2;
    snprintf(host->mx, sizeof host->mx, "%s", req->names.count ? req->names.names[0] : "");
    snprintf(host->base, sizeof host->base, "%s", host->mx);
    for (const char *key = keys; *key; key++) {
        char digest[32] = { *key };
        bool usable = *key >= 'a';

        (void)!dane_host_add(host, usable ? TLSA_DANE_EE : TLSA_PKIX_EE, TLSA_SPKI, TLSA_SHA2_256,
                             span_make(digest, sizeof digest));
    }
}

static void
read_requirement(struct world_answer *a, struct requirement *req, char *word)
{
    char *value;

    if ((value = value_of(word, "names")))
        add_names(&req->names, value);
    else if ((value = value_of(word, "mx")))
        add_names(&req->sts.mx, value);
    else if ((value = value_of(word, "reports-to")))
        add_names(&req->report_to, value);
    else if ((value = value_of(word, "floor")))
        req->tls_floor = version_of(value);
    else if ((value = value_of(word, "expires")))
        req->sts.expires_at_s = WORLD_START_S + strtol(value, NULL, 10);
    else if ((value = value_of(word, "ttl")))
        req->ttl_s = (uint32_t)strtoul(value, NULL, 10);
    else if ((value = value_of(word, "problem")))
        snprintf(req->sts.discovery, sizeof req->sts.discovery, "%s", value);
    else if (strcmp(word, "mx-secure") == 0)
        req->dane.mx_secure = true;
    else if (strcmp(word, "by=certificate") == 0)
        req->matched = MX_MATCH_CERTIFICATE;
    else if ((value = value_of(word, "tlsa"))) /* behind names */
        add_tlsa(req, value);
    else if ((value = value_of(word, "base"))) {
        if (req->dane.host_count)
            snprintf(req->dane.hosts[0].base, sizeof req->dane.hosts[0].base, "%s", value);
    } else if (strcmp(word, "dane=bogus") == 0 || strcmp(word, "dane=unknown") == 0) {
        req->dane.state = DANE_FAILED;
        req->dane.dnssec = strcmp(word, "dane=bogus") == 0;
        snprintf(req->dane.reason, sizeof req->dane.reason, "tlsa servfail");
    } else if (strcmp(word, "dane=required") == 0)
        req->dane.required = true;
    else if (strcmp(word, "dane=suffices") == 0)
        req->dane.suffices = true;
    else if (strcmp(word, "lookup-failed") == 0)
        req->mx_lookup_failed = true;
    else if (strcmp(word, "late") == 0)
        a->late = true;
    else if (strcmp(word, "recheck") == 0)
        a->recheck = true;
    else if (strcmp(word, "unavailable") == 0)
        a->unavailable = true;
    else
        fail_msg("require: what is %s?", word);
}

static void
do_require(struct script *s, char **words, size_t count)
{
    struct requirement *req = requirement_new();
    struct world_answer answer = { .req = req };

    snprintf(answer.domain, sizeof answer.domain, "%s", words[1]);
    if (req) {
        snprintf(req->domain, sizeof req->domain, "%s", words[1]);
        req->matched = MX_MATCH_ADDRESS;
        req->ttl_s = 3600;
        req->sts.mode = strcmp(words[2], "enforce") == 0   ? STS_MODE_ENFORCE
                        : strcmp(words[2], "testing") == 0 ? STS_MODE_TESTING
                                                           : STS_MODE_NONE;
        req->tls_floor = req->sts.mode == STS_MODE_ENFORCE ? TLS_VERSION_1_2 : TLS_VERSION_1_0;
        req->sts.expires_at_s = WORLD_START_S + 1000000;
        memset(req->sts.text_sha256, 0xab, sizeof req->sts.text_sha256);
    }
    for (size_t i = 3; i < count && req; i++)
        read_requirement(&answer, req, words[i]);
    answer.unavailable |= !req;
    world_add_answer(s->w, &answer);
}

static void
read_facts(struct observation *obs, char *word)
{
    char *value;

    if ((value = value_of(word, "sans"))) {
        name_list_clear(&obs->sans);
        add_names(&obs->sans, value);
    } else if ((value = value_of(word, "version"))) {
        obs->version = strcmp(value, "unknown") == 0 ? 0 : version_of(value);
    } else if (strcmp(word, "expired") == 0) {
        obs->chain = CHAIN_EXPIRED;
        snprintf(obs->chain_error, sizeof obs->chain_error, "X509_V_ERR_CERT_HAS_EXPIRED");
        snprintf(obs->chain_reason, sizeof obs->chain_reason, "certificate has expired");
    } else if (strcmp(word, "untrusted") == 0) {
        obs->chain = CHAIN_UNTRUSTED;
        snprintf(obs->chain_error, sizeof obs->chain_error,
                 "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT");
        snprintf(obs->chain_reason, sizeof obs->chain_reason, "self-signed certificate");
    } else if (strcmp(word, "resumed") == 0) {
        obs->ticket_offered = true;
        obs->resumed = obs->stage == TLS_STAGE_DONE;
    } else if ((value = value_of(word, "fails"))) {
        obs->stage = TLS_STAGE_FAILED;
        obs->failure = strcmp(value, "version") == 0   ? TLS_FAILURE_VERSION
                       : strcmp(value, "timeout") == 0 ? TLS_FAILURE_TIMEOUT
                                                       : TLS_FAILURE_HANDSHAKE;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "%s", value);
    } else {
        fail_msg("tls: what is %s?", word);
    }
}

/* "tls SNI [floor=1.2] [key=a] [FACT...]": that handshake was asked for, and it ends so. */
static void
do_tls(struct script *s, char **words, size_t count)
{
    struct world *w = s->w;
    struct observation *obs, *before;
    const char *sni = strcmp(words[1], "-") == 0 ? "" : words[1];
    char *floor = count > 2 ? value_of(words[2], "floor") : NULL;

    if (s->loose && w->leg != LEG_HANDSHAKE && w->leg != LEG_TLS)
        return;
    expect(s, w->leg == LEG_HANDSHAKE || w->leg == LEG_TLS, "no handshake was asked for");
    if (!s->loose && strcmp(w->sni, sni) != 0)
        FAIL(s, "SNI is \"%s\"", w->sni);
    if (floor)
        expect(s, w->floor == version_of(floor), "another floor");
    before = session_observation(w->session);
    obs = observation_new();
    if (obs) {
        obs->starttls_offered = before->starttls_offered;
        obs->starttls_code = before->starttls_code;
        obs->stage = TLS_STAGE_DONE;
        obs->chain = CHAIN_GOOD;
        obs->version = TLS_VERSION_1_3;
        obs->floor = w->floor;
        snprintf(obs->sni, sizeof obs->sni, "%s", sni);
        (void)!name_list_add(&obs->sans, span_of(sni));
        for (size_t i = floor ? 3 : 2; i < count; i++)
            if (value_of(words[i], "key"))
                w->key = *value_of(words[i], "key");
            else
                read_facts(obs, words[i]);
    }
    w->mx_owes = false;
    world_tls_over(w, obs);
}

static void
do_answer(struct script *s, char **words, size_t count)
{
    bool unknown = count > 2 && strcmp(words[2], "unknown") == 0;

    if (s->loose && !s->w->waiting)
        return;
    expect(s, s->w->waiting && strcmp(s->w->asked, words[1]) == 0, "that was not asked");
    for (size_t i = 0; i < s->w->answer_count; i++)
        if (strcmp(s->w->answers[i].domain, words[1]) == 0 &&
            s->w->answers[i].recheck == s->w->asked_recheck) {
            struct requirement *req = s->w->answers[i].req;

            world_answer(s->w, unknown || !req ? NULL : requirement_ref(req));
            return;
        }
    FAIL(s, "no requirement of that domain");
}

/* "timeout [SECONDS]": the timer is armed, for so long, and fires. */
static void
do_timeout(struct script *s, char **words, size_t count)
{
    if (s->loose && !s->w->timer_at_ms)
        return;
    expect(s, s->w->timer_at_ms != 0, "no timer is armed");
    if (count > 1)
        expect(s, s->w->timer_ms == 1000 * strtoul(words[1], NULL, 10), "armed for another time");
    if (session_state(s->w->session) == SES_HANDSHAKE) {
        struct observation *obs = observation_new(); /* the owner of the handshake tells of it */

        if (obs) {
            obs->stage = TLS_STAGE_FAILED;
            obs->failure = TLS_FAILURE_TIMEOUT;
            obs->floor = s->w->floor;
            snprintf(obs->sni, sizeof obs->sni, "%s", s->w->sni);
            snprintf(obs->failure_reason, sizeof obs->failure_reason, "timeout");
        }
        world_tls_over(s->w, obs);
        return;
    }
    world_wait(s->w, s->w->timer_at_ms - s->w->now_ms);
}

static void
do_record(struct script *s, char **words, size_t count)
{
    struct world *w = s->w;

    if (s->loose)
        return;
    expect(s, w->records_read < w->record_count, "no record");
    expect_words(s, w->records[w->records_read++], words, count);
}

/* "report WORD=TEXT ...": the next one; "reports N": so many in all. */
static void
do_reports(struct script *s, char **words, size_t count)
{
    struct world *w = s->w;

    if (s->loose)
        return;
    if (strcmp(words[0], "reports") == 0) {
        expect(s, w->report_count == strtoul(words[1], NULL, 10), "another number of reports");
        return;
    }
    expect(s, w->reports_read < w->report_count, "no report");
    expect_words(s, w->reports[w->reports_read++], words, count);
}

/* "KEYWORD,KEYWORD": an EHLO reply with these; "_" is a blank. */
static struct span
list_of(char *words, char text[EHLO_MEMORY_LIST_BYTES])
{
    size_t len =
        (size_t)snprintf(text, EHLO_MEMORY_LIST_BYTES, "250-mx.example at your service\r\n");
    size_t last = 0;
    char *save;

    for (char *word = strtok_r(words, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        last = len;
        len += (size_t)snprintf(text + len, EHLO_MEMORY_LIST_BYTES - len, "250-%s\r\n", word);
    }
    text[last + 3] = ' ';
    for (size_t i = 0; i < len; i++)
        text[i] = text[i] == '_' ? ' ' : text[i];
    return span_make(text, len);
}

/* "remember proven|unproven LIST": of an earlier session. "remembered LIST|-": by now. */
static void
do_list(struct script *s, char **words)
{
    char text[EHLO_MEMORY_LIST_BYTES];
    struct world *w = s->w;

    if (strcmp(words[0], "remember") == 0) {
        (void)ehlo_memory_learn(w->lists, &w->info.destination, 25, list_of(words[2], text),
                                strcmp(words[1], "proven") == 0, w->now_ms / 1000);
    } else {
        struct span want = strcmp(words[1], "-") == 0 ? span_of("") : list_of(words[1], text);
        struct span got = ehlo_memory_recall(w->lists, &w->info.destination, 25, w->now_ms / 1000);

        if (!s->loose && !span_equal(got, want))
            FAIL(s, "it is \"%s\"", show(got, (char[400]){ 0 }));
    }
}

static enum client_starttls
starttls_of(const char *text)
{
    for (int how = CLIENT_STARTTLS_SITE; how < CLIENT_STARTTLS_WAYS; how++)
        if (strcmp(text, client_starttls_name((enum client_starttls)how)) == 0)
            return (enum client_starttls)how;
    fail_msg("starttls: what is %s?", text);
    return CLIENT_STARTTLS_SITE;
}

/* "client KEY VALUE": as in a section of the configuration, before the session begins. */
static void
set_client(struct script *s, const char *text)
{
    char *words[WORDS_MAX], *copy = strdup(text);
    struct client_rule *rule = &s->w->rule;

    assert_non_null(copy);
    assert_int_equal(split(copy, words), 3);
    if (strcmp(words[1], "starttls") == 0)
        rule->starttls = starttls_of(words[2]);
    else if (strcmp(words[1], "require_tls") == 0)
        rule->require_tls = true;
    else if (strcmp(words[1], "accept_lf") == 0)
        rule->accept_lf = true;
    else
        fail_msg("%s: client: what is %s?", s->name, words[1]);
    s->w->info.client_rule = rule;
    s->w->info.client_starttls = client_rule_starttls(rule, false);
    free(copy);
}

static void
do_set(struct script *s, char **words)
{
    unsigned value = (unsigned)strtoul(words[2], NULL, 10);

    if (strcmp(words[1], "recipients_max") == 0)
        s->w->config.recipients_max = value;
    else if (strcmp(words[1], "opportunistic") == 0)
        s->w->config.tls_opportunistic_minimum = version_of(words[2]);
    else if (strcmp(words[1], "tls") == 0)
        s->w->config.tls_required = strcmp(words[2], "required") == 0;
    else if (strcmp(words[1], "cleartext_fallback") == 0)
        s->w->config.cleartext_fallback = strcmp(words[2], "true") == 0;
    else if (strcmp(words[1], "rollout") == 0)
        expect(s, rollout_parse(words[2], &s->w->config.rules.rollout) == RES_OK, "no roll-out");
    else if (strcmp(words[1], "smart_host") == 0)
        world_map_destination(s->w, words[2]);
    else if (strcmp(words[1], "auth_client") == 0)
        world_let_auth(s->w, words[2]);
    else if (strcmp(words[1], "report_sender") == 0)
        world_sends_reports(s->w, words[2]);
    else if (strcmp(words[1], "permanent") == 0)
        s->w->config.permanent[REPLY_CLASS_STS] = s->w->config.permanent[REPLY_CLASS_LOCAL] = value;
    else if (strcmp(words[1], "violation") == 0)
        s->w->config.violation_closes = strcmp(words[2], "disconnect") == 0;
    else if (strcmp(words[1], "monitor") == 0)
        world_monitor(s->w, words[2]);
    else if (strcmp(words[1], "reply_text") == 0)
        world_set_reply_text(s->w, words[2], words[3]);
    else if (strcmp(words[1], "reply_id") == 0)
        s->w->config.reply_ids = value;
    else if (strcmp(words[1], "recipient_budget") == 0)
        s->w->config.recipient_budget_ms = value * 1000;
    else if (strcmp(words[1], "chunking") == 0)
        s->w->config.chunking = value;
    else if (strcmp(words[1], "bare_newline_any") == 0)
        s->w->config.bare_newline_any = value;
    else if (strcmp(words[1], "records_full") == 0)
        s->w->records_full = strcmp(words[2], "true") == 0;
    else if (strcmp(words[1], "backlog") == 0)
        s->w->backlog = value;
    else
        FAIL(s, "what is that?");
}

static void
do_event(struct script *s, char **words, size_t count)
{
    struct world *w = s->w;
    const char *verb = words[0];

    if (strcmp(verb, "connect") == 0) {
        if (!s->loose || w->leg == LEG_CONNECTING)
            world_connected(w, strcmp(words[1], "ok") == 0);
    } else if (strcmp(verb, "tls") == 0) {
        do_tls(s, words, count);
    } else if (strcmp(verb, "client-tls") == 0) {
        if (!s->loose || w->client_tls == CLIENT_HANDSHAKE)
            world_client_tls_over(w, strcmp(words[1], "ok") == 0);
    } else if (strcmp(verb, "answer") == 0) {
        do_answer(s, words, count);
    } else if (strcmp(verb, "timeout") == 0) {
        do_timeout(s, words, count);
    } else if (strcmp(verb, "wait") == 0) {
        world_wait(w, 1000 * strtol(words[1], NULL, 10));
    } else if (strcmp(verb, "mx-close") == 0) {
        world_mx_closes(w);
    } else if (strcmp(verb, "client-close") == 0) {
        world_client_closes(w);
    } else if (strcmp(verb, "drain") == 0) {
        session_drain(w->session, count > 1);
    } else if (strcmp(verb, "cut") == 0) {
        session_cut(w->session);
    } else {
        FAIL(s, "what is that?");
    }
}

/* Lines that only look. */
static bool
do_look(struct script *s, char **words, size_t count)
{
    struct world *w = s->w;
    const char *verb = words[0];

    if (strcmp(verb, "record") == 0) {
        do_record(s, words, count);
    } else if (strcmp(verb, "report") == 0 || strcmp(verb, "reports") == 0) {
        do_reports(s, words, count);
    } else if (strcmp(verb, "session") == 0) {
        if (!s->loose)
            expect_words(s, w->end, words, count);
    } else if (strcmp(verb, "closed") == 0) {
        expect_silence(s);
        expect(s, w->closed, "not closed");
    } else if (strcmp(verb, "passed-through") == 0) {
        expect(s, w->passed_through, "not passed through");
    } else if (strcmp(verb, "state") == 0) {
        expect(s, strcmp(session_state_name(session_state(w->session)), words[1]) == 0,
               "another state");
    } else if (strcmp(verb, "replies") == 0) { /* wait for others, or go at once */
        expect(s, session_replies_may_wait(w->session) == (strcmp(words[1], "wait") == 0),
               "replies do the other");
    } else if (strcmp(verb, "hung-up") == 0) {
        expect(s, w->hang_ups > 0, "nobody hung up on the MX");
        expect(s, (w->how == HANG_UP_POLITE) == (strcmp(words[1], "polite") == 0),
               "hung up the other way");
    } else if (strcmp(verb, "up") == 0) {
        expect(s, w->leg == LEG_CLEAR || w->leg == LEG_TLS, "the connection to the MX is down");
    } else if (strcmp(verb, "connects") == 0) {
        expect(s, w->connects == strtoul(words[1], NULL, 10), "another number of connections");
    } else if (strcmp(verb, "rechecks") == 0) {
        expect(s, w->rechecks == strtoul(words[1], NULL, 10), "another number of re-checks");
    } else if (strcmp(verb, "questions") == 0) {
        expect(s, w->questions == strtoul(words[1], NULL, 10), "another number of questions");
    } else if (strcmp(verb, "remember") == 0 || strcmp(verb, "remembered") == 0) {
        do_list(s, words);
    } else if (strcmp(verb, "dane-checks") == 0) {
        expect(s, w->dane_checks == strtoul(words[1], NULL, 10), "another number of checks");
    } else if (strcmp(verb, "tickets") == 0) { /* kept, and dropped, so far */
        expect(s, w->tls_good == strtoul(words[1], NULL, 10), "other tickets were kept");
        expect(s, w->tls_bad == strtoul(words[2], NULL, 10), "other tickets were dropped");
    } else if (strcmp(verb, "require") == 0) {
        do_require(s, words, count);
    } else if (strcmp(verb, "news") == 0) { /* something that was answered is out of date */
        s->w->epoch++;
    } else if (strcmp(verb, "set") == 0) {
        do_set(s, words);
    } else {
        return false;
    }
    return true;
}

/* ---- running ---- */

static bool
is_bytes_line(const char *text)
{
    size_t n = 1;

    if (!strchr("CcMm", text[0]) || !text[0])
        return false;
    if (text[1] == '*')
        n = 2 + strspn(text + 2, "0123456789");
    return text[n] == ':' || text[n] == '!';
}

static void
run_bytes(struct script *s)
{
    struct world *w = s->w;

    unescape(s, s->now->text);
    switch (s->now->text[0]) {
    case 'c':
        expect_bytes(s, &w->client);
        return;
    case 'm':
        expect_bytes(s, &w->mx);
        return;
    case 'M':
        /* The lines of one reply come together, like the bytes behind it. */
        if (s->now == s->lines || s->now[-1].text[0] != 'M')
            expect_silence(s);
        world_mx_sends(w, span_make(s->bytes, s->len));
        if (s->now + 1 < s->lines + s->count && s->now[1].text[0] == 'M' &&
            is_bytes_line(s->now[1].text))
            return;
        break;
    default:
        if (s->way == WAY_WHOLE)
            return;
        if (s->now == s->lines || !is_bytes_line(s->now[-1].text) || s->now[-1].text[0] != 'C')
            expect_silence(s);
        world_client_sends(w, span_make(s->bytes, s->len));
        if (s->now + 1 < s->lines + s->count && s->now[1].text[0] == 'C' &&
            is_bytes_line(s->now[1].text))
            return; /* a group of commands comes together */
    }
    world_pump(w);
}

static void
run_line(struct script *s)
{
    char *words[WORDS_MAX], *copy;
    size_t count;

    if (is_bytes_line(s->now->text)) {
        run_bytes(s);
        return;
    }
    if (s->now->text[0] == '#')
        return;
    copy = strdup(s->now->text);
    assert_non_null(copy);
    count = split(copy, words);
    if (count && strcmp(words[0], "ways") != 0 && strcmp(words[0], "client") != 0 &&
        !do_look(s, words, count)) {
        expect_silence(s);
        do_event(s, words, count);
    }
    free(copy);
}

static void
send_everything(struct script *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->lines[i].text[0] == 'C' && is_bytes_line(s->lines[i].text)) {
            unescape(s, s->lines[i].text);
            world_client_sends(s->w, span_make(s->bytes, s->len));
        }
}

static void
expect_end(struct script *s)
{
    enum script_way way = s->way;
    char client[400], mx[400];

    if (s->loose)
        return;
    s->now = &s->lines[s->count - 1];
    if (pipe_span(&s->w->client).len || pipe_span(&s->w->mx).len)
        FAIL(s, "left (%d): to the client \"%s\", to the MX \"%s\"", way,
             show(pipe_span(&s->w->client), client), show(pipe_span(&s->w->mx), mx));
    if (s->wants_records && s->w->records_read != s->w->record_count)
        FAIL(s, "a record more: %s", s->w->records[s->w->records_read]);
}

static struct script *
script_new(const char *name, struct span text)
{
    struct script *s = calloc(1, sizeof *s);
    char *copy = strndup(text.ptr, text.len);

    assert_non_null(s);
    assert_non_null(copy);
    s->name = name;
    add_lines(s, copy, 1, true);
    free(copy);
    s->w = world_new();
    for (size_t i = 0; i < s->count; i++)
        if (span_starts(span_of(s->lines[i].text), span_of("client ")))
            set_client(s, s->lines[i].text);
    return s;
}

static void
script_free(struct script *s)
{
    world_free(s->w);
    for (size_t i = 0; i < s->count; i++)
        free(s->lines[i].text);
    free(s);
}

void
script_run(const char *name, struct span text, enum script_way way)
{
    struct script *s = script_new(name, text);

    s->way = way;
    s->now = s->lines;
    s->w->client_step = way == WAY_BYTES;
    s->w->mx_step = way == WAY_MX_BYTES;
    assert_true(world_start(s->w));
    if (way == WAY_WHOLE)
        send_everything(s);
    for (size_t i = 0; i < s->count; i++) {
        s->now = &s->lines[i];
        run_line(s);
    }
    expect_end(s);
    script_free(s);
}

/* How many replies there are in text: lines whose code has no "-" behind it. */
static unsigned
count_replies(struct span text)
{
    unsigned count = 0;

    while (text.len) {
        size_t len = span_find(text, '\n');

        count += len < text.len && (len < 4 || text.ptr[3] != '-');
        text = span_from(text, len + 1);
    }
    return count;
}

static unsigned
count_expected_replies(struct script *s)
{
    unsigned count = 0;

    for (size_t i = 0; i < s->count; i++)
        if (s->lines[i].text[0] == 'c' && is_bytes_line(s->lines[i].text)) {
            unescape(s, s->lines[i].text);
            count += count_replies(span_make(s->bytes, s->len));
        }
    return count;
}

static unsigned
count_delivered(const struct script *s, bool expected)
{
    unsigned count = 0;

    for (size_t i = 0; expected && i < s->count; i++)
        count += span_starts(span_of(s->lines[i].text), span_of("record outcome=delivered"));
    for (size_t i = 0; !expected && i < s->w->record_count; i++)
        count += has_word(s->w->records[i], "outcome=delivered");
    return count;
}

/* Failures may lead a conversation to where its script has no answer. */
static bool
is_waiting(const struct world *w)
{
    return w->leg == LEG_CONNECTING || w->leg == LEG_HANDSHAKE || w->mx_owes || w->waiting;
}

bool
script_run_without_memory(const char *name, struct span text, unsigned n)
{
    struct script *s = script_new(name, text);
    unsigned want = count_expected_replies(s), got;
    bool happened;

    s->loose = true;
    s->now = s->lines;
    alloc_fail_after(n);
    if (world_start(s->w)) {
        for (size_t i = 0; i < s->count && !s->w->closed; i++) {
            s->now = &s->lines[i];
            run_line(s);
        }
        got = count_replies(pipe_span(&s->w->client));
        if (s->w->closed ? got > want + 1 : is_waiting(s->w) ? got > want : got != want)
            FAIL(s, "%u replies, expected %u; allocation %u", got, want, n);
        if (count_delivered(s, false) > count_delivered(s, true))
            FAIL(s, "delivered too much; allocation %u", n);
    }
    happened = alloc_fail_happened();
    script_free(s);
    return happened;
}

unsigned
script_ways(struct span text)
{
    static const unsigned usual = 1u << WAY_WRITTEN | 1u << WAY_BYTES | 1u << WAY_MX_BYTES;
    struct span line = span_first(text, span_find(text, '\n'));
    unsigned ways = 0;

    if (!span_starts(line, span_of("ways ")))
        return usual;
    line = span_from(line, 5);
    while (line.len) {
        struct span word = span_first(line, span_find(line, ' '));

        for (unsigned way = 0; way < SCRIPT_WAYS; way++)
            if (span_equal(word, span_of(script_way_name(way))))
                ways |= 1u << way;
        line = span_from(line, word.len + 1);
    }
    return ways;
}
