#include "policy/tlsrpt_mail.h"

#include "policy/tlsrpt_store.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <zlib.h>

#define LINE_MAX_BYTES 998u
#define BASE64_LINE 57 /* octets that make a line of 76 */
#define GZIP_WINDOW (15 + 16)
#define GZIP_CHUNK 16384u

const char *
tlsrpt_domain_of(const char *address)
{
    const char *at = strrchr(address, '@');

    return at ? at + 1 : address;
}

/* The random part of a report's id: behind the domain, before "@". */
static struct span
unique_part(const char *report_id, const char *domain)
{
    struct span left = span_first(span_of(report_id), span_find(span_of(report_id), '@'));
    size_t head = sizeof "YYYYMMDD." - 1 + strlen(domain) + 1;

    return head < left.len ? span_from(left, head) : left;
}

void
tlsrpt_file_name(const char *submitter, const char *domain, int64_t day_s, const char *report_id,
                 char out[TLSRPT_FILE_NAME_MAX])
{
    struct span unique = unique_part(report_id, domain);

    snprintf(out, TLSRPT_FILE_NAME_MAX, "%s!%s!%lld!%lld!%.*s.json.gz", submitter, domain,
             (long long)day_s, (long long)day_s + TLSRPT_DAY_S - 1, (int)unique.len, unique.ptr);
}

/* ---- the message ---- */

static enum result __attribute__((format(printf, 2, 3)))
put(struct buffer *out, const char *fmt, ...)
{
    char line[2 * LINE_MAX_BYTES];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line)
        return RES_LIMIT;
    return buffer_append(out, span_make(line, (size_t)len));
}

static enum result
put_date(struct buffer *out, int64_t now_s)
{
    static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t now = (time_t)now_s;
    struct tm utc;

    if (!gmtime_r(&now, &utc))
        return RES_SYNTAX;
    return put(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[utc.tm_wday], utc.tm_mday,
               months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

static enum result
put_head(struct buffer *out, const struct tlsrpt_mail *m, const char *boundary)
{
    const char *submitter = tlsrpt_domain_of(m->from);
    enum result res = put(out, "From: <%s>\r\nTo: <%s>\r\n", m->from, m->to);

    if (res == RES_OK)
        res = put_date(out, m->now_s);
    if (res == RES_OK) /* folded at blanks, so that no line gets too long (RPT-061) */
        res = put(out, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n",
                  m->domain, submitter, m->report_id);
    if (res == RES_OK)
        res = put(out, "Message-ID: <%s>\r\n", m->report_id);
    if (res == RES_OK)
        res =
            put(out, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n", m->domain, submitter);
    if (res == RES_OK) /* RFC 8689 5: it is to arrive over whatever TLS there is (RPT-080) */
        res = put(out, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\n");
    if (res == RES_OK)
        res = put(out,
                  "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
                  " boundary=\"%s\"\r\n\r\n",
                  boundary);
    return res;
}

static enum result
put_text(struct buffer *out, const struct tlsrpt_mail *m, const char *boundary)
{
    time_t day = (time_t)m->day_s;
    char date[16] = "";
    struct tm utc;

    if (gmtime_r(&day, &utc))
        (void)strftime(date, sizeof date, "%Y-%m-%d", &utc);
    return put(out,
               "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n"
               "Content-Transfer-Encoding: 7bit\r\n\r\n"
               "This is an aggregate TLS report (RFC 8460) of %s\r\n"
               "about mail to %s on %s (UTC).\r\n\r\n",
               boundary, tlsrpt_domain_of(m->from), m->domain, date);
}

/* RFC 2045 6.8, with its line end. Returns the length. */
static size_t
base64_line(struct span bytes, char line[4 * (BASE64_LINE / 3) + 3])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;

    for (size_t i = 0; i < bytes.len; i += 3) {
        unsigned char in[3] = { 0 };
        uint32_t bits;

        memcpy(in, bytes.ptr + i, bytes.len - i < 3 ? bytes.len - i : 3);
        bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        line[len++] = digits[bits >> 18];
        line[len++] = digits[bits >> 12 & 63];
        line[len++] = i + 1 < bytes.len ? digits[bits >> 6 & 63] : '=';
        line[len++] = i + 2 < bytes.len ? digits[bits & 63] : '=';
    }
    memcpy(line + len, "\r\n", 2);
    return len + 2;
}

static enum result
put_base64(struct buffer *out, struct span bytes)
{
    enum result res = RES_OK;

    while (bytes.len && res == RES_OK) {
        struct span chunk = span_first(bytes, BASE64_LINE);
        char line[4 * (BASE64_LINE / 3) + 3];

        bytes = span_from(bytes, chunk.len);
        res = buffer_append(out, span_make(line, base64_line(chunk, line)));
    }
    return res;
}

enum result
tlsrpt_mail_write(const struct tlsrpt_mail *m, struct buffer *out)
{
    struct span unique = unique_part(m->report_id, m->domain);
    char boundary[64], file[TLSRPT_FILE_NAME_MAX];
    enum result res;

    /* "=_" is in no line of base64, nor of the text above. */
    snprintf(boundary, sizeof boundary, "=_tlsrpt_%.*s", (int)(unique.len < 32 ? unique.len : 32),
             unique.ptr);
    tlsrpt_file_name(tlsrpt_domain_of(m->from), m->domain, m->day_s, m->report_id, file);
    res = put_head(out, m, boundary);
    if (res == RES_OK)
        res = put_text(out, m, boundary);
    if (res == RES_OK)
        res = put(out,
                  "--%s\r\nContent-Type: application/tlsrpt+gzip\r\n"
                  "Content-Transfer-Encoding: base64\r\n"
                  "Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n",
                  boundary, file);
    if (res == RES_OK)
        res = put_base64(out, m->report);
    return res == RES_OK ? put(out, "--%s--\r\n", boundary) : res;
}

/* ---- gzip ---- */

static enum result
deflate_all(z_stream *z, struct buffer *out)
{
    enum result res = RES_OK;
    int code = Z_OK;

    while (res == RES_OK && code == Z_OK) {
        char *place;

        res = buffer_reserve(out, GZIP_CHUNK, &place);
        if (res != RES_OK)
            break;
        z->next_out = (unsigned char *)place;
        z->avail_out = GZIP_CHUNK;
        code = deflate(z, Z_FINISH);
        buffer_commit(out, GZIP_CHUNK - z->avail_out);
    }
    return res == RES_OK && code != Z_STREAM_END ? RES_NOMEM : res;
}

enum result
tlsrpt_gzip(struct span text, struct buffer *out)
{
    z_stream z = { .next_in = (unsigned char *)(uintptr_t)text.ptr,
                   .avail_in = (unsigned)text.len };
    enum result res;

    if (text.len > UINT32_MAX)
        return RES_LIMIT;
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return RES_NOMEM;
    res = deflate_all(&z, out);
    (void)deflateEnd(&z);
    return res;
}
