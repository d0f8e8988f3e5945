/* proxy/smtp_reply_fuzz.c: the first octet says in what parts the rest arrives. Promises: parts
 * change nothing; what is handed out is a reply by its own grammar, reads again as the same, and
 * its EHLO list, filtered, is a reply with no keyword that was not there. */
#include "proxy/ehlo.h"
#include "proxy/smtp_reply.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static enum result
read_parts(struct smtp_reply_reader *r, struct span input, size_t part, size_t *out_used,
           struct smtp_reply *out)
{
    enum result res = RES_AGAIN;
    size_t used;

    *out_used = 0;
    *out = (struct smtp_reply){ 0 };
    while (res == RES_AGAIN && *out_used < input.len) {
        struct span next = span_first(span_from(input, *out_used), part);

        res = smtp_reply_read(r, next, &used, out);
        must(used <= next.len && (res != RES_AGAIN || used == next.len));
        *out_used += used;
    }
    return res;
}

static void
check_reply(const struct smtp_reply *reply)
{
    size_t at = 0;

    must(reply->code >= 200 && reply->code <= 599);
    must(reply->lines >= 1 && reply->lines <= SMTP_REPLY_MAX_LINES);
    must(reply->text.len <= SMTP_REPLY_MAX_BYTES);
    for (size_t n = 0; n < reply->lines; n++) {
        struct span rest = span_from(reply->text, at);
        size_t len = span_find(rest, '\n') + 1;

        must(len >= 5 && len <= rest.len && rest.ptr[len - 2] == '\r');
        must(span_find(rest, '\r') == len - 2);
        must(span_equal(span_first(rest, 3), span_first(reply->text, 3)));
        must((len > 5 && rest.ptr[3] == '-') == (n + 1 < reply->lines));
        at += len;
    }
    must(at == reply->text.len);
    must(span_find(reply->text, '\0') == reply->text.len);
    must(smtp_reply_line(reply, reply->lines).len == 0);
}

static void
check_again(struct span text, const struct smtp_reply *want)
{
    struct smtp_reply_reader r;
    struct smtp_reply reply;
    size_t used;

    smtp_reply_reader_init(&r);
    must(smtp_reply_read(&r, text, &used, &reply) == RES_OK);
    must(used == text.len && reply.code == want->code);
    must(reply.lines == want->lines && span_equal(reply.text, want->text));
    smtp_reply_reader_clear(&r);
}

static void
check_ehlo(const struct smtp_reply *reply)
{
    unsigned known = ehlo_keywords(reply);
    struct smtp_reply_reader r;
    struct smtp_reply shown;
    struct buffer list;
    size_t used;

    buffer_init(&list, 2 * SMTP_REPLY_MAX_BYTES);
    must(ehlo_filter(reply, EHLO_OFFERED, false, &list) == RES_OK);
    if (buffer_len(&list) <= SMTP_REPLY_MAX_BYTES) {
        smtp_reply_reader_init(&r);
        must(smtp_reply_read(&r, buffer_span(&list), &used, &shown) == RES_OK);
        must(used == buffer_len(&list) && shown.lines <= reply->lines);
        check_reply(&shown);
        must(ehlo_keywords(&shown) == (known & EHLO_OFFERED));
        smtp_reply_reader_clear(&r);
    }
    buffer_clear(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t part = size ? data[0] : 0, used, used_whole;
    struct span input = span_from(span_make(data, size), 1);
    struct smtp_reply_reader r, whole;
    struct smtp_reply reply, reply_whole;
    enum result res, res_whole;

    if (input.len == 0)
        return 0;
    smtp_reply_reader_init(&r);
    smtp_reply_reader_init(&whole);
    res = read_parts(&r, input, part ? part : 1, &used, &reply);
    res_whole = smtp_reply_read(&whole, input, &used_whole, &reply_whole);
    /* Of two faults in one part, which is found first is left open. */
    must(res_whole == res || ((res == RES_SYNTAX || res == RES_LIMIT) &&
                              (res_whole == RES_SYNTAX || res_whole == RES_LIMIT)));
    if (res == RES_OK) {
        must(used == used_whole && span_equal(reply.text, reply_whole.text));
        check_reply(&reply);
        check_again(reply.text, &reply);
        check_ehlo(&reply);
    }
    smtp_reply_reader_clear(&r);
    smtp_reply_reader_clear(&whole);
    return 0;
}
