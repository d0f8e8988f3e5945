/* base/pack.h: MessagePack, bounded, for the codec modules (*_msg.c): messages between the
 * processes and records. Context: any process, one thread at a time per object.
 *
 * Writer: calls are not checked one by one; the first failure sticks and pack_end() tells it.
 *
 *     pack_begin(&w, out);
 *     pack_array(&w, 2);
 *     pack_uint(&w, 1);
 *     pack_str(&w, span_of("example.com"));
 *     return pack_end(&w);
 *
 * Reader: a cursor over bytes that a hostile sender may have written. It allocates nothing,
 * never reads beyond the bytes given, and believes no declared length (msgpack-c does:
 * five bytes make it ask for 256 GiB). Failure sticks here too: every later call fails alike and
 * gives zero, so a decoder reads field by field and asks once. A failed count is 0, so loops over
 * it end.
 *
 *     pack_reader_init(&r, bytes);
 *     pack_read_tuple(&r, 2);
 *     version = pack_read_uint(&r, 1);
 *     pack_read_text(&r, name, sizeof name);
 *     return pack_reader_end(&r); */
#ifndef STSGATE_BASE_PACK_H
#define STSGATE_BASE_PACK_H

#include "base/buffer.h"
#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

/* Fluentd's EventTime: seconds and nanoseconds, 32 bits each, big-endian, in an ext of this type
 * (Forward Protocol Specification v1). */
#define PACK_EVENT_TIME_TYPE 0
#define PACK_EVENT_TIME_BYTES 8u
#define PACK_FIXSTR 0xa0u /* head of a str of at most so many octets */
#define PACK_FIXSTR_MAX 31u
#define PACK_DEPTH_MAX 16u /* containers within containers; ours need four */

/* ---- writing ---- */

struct pack_writer {
    struct buffer *out; /* borrowed; NULL when a block is written */
    size_t before;      /* bytes in out before pack_begin() */
    char *from, *at;    /* written, and not known to out yet; at: place of the next octet */
    char *end;          /* of the room in hand; == at after a failure */
    enum result res;    /* the first failure */
};

/** Write behind what out holds; out is borrowed until pack_end(), and up to then must not be looked
 * at. */
void pack_begin(struct pack_writer *w, struct buffer *out);

/** Write into size bytes at block, borrowed until pack_end(). */
void pack_begin_block(struct pack_writer *w, void *block, size_t size);

/** RES_OK: all of it was written. RES_LIMIT, RES_NOMEM: it was not, and the buffer is again as it
 * was before pack_begin() (of a block only pack_written() == 0 can be relied on). */
MUST_CHECK enum result pack_end(struct pack_writer *w);

/** Bytes written since pack_begin(). */
size_t pack_written(const struct pack_writer *w);

/** Note a failure of the caller's own; the first one sticks, RES_OK changes nothing. */
void pack_fail(struct pack_writer *w, enum result res);

void pack_nil(struct pack_writer *w);
void pack_bool(struct pack_writer *w, bool value);
void pack_uint(struct pack_writer *w, uint64_t value);
void pack_int(struct pack_writer *w, int64_t value);

/** n elements follow; n pairs of key and value follow. */
void pack_array(struct pack_writer *w, size_t n);
void pack_map(struct pack_writer *w, size_t n);

/** Text as str; bytes that are no text (pack_is_text()) as bin, so that a reader of str never meets
 * what a peer made up (FAULTS H3). */
void pack_str(struct pack_writer *w, struct span text);
void pack_bin(struct pack_writer *w, struct span bytes);

/** pack_text() where the text is long, or the room in hand does not do. */
void pack_text_slowly(struct pack_writer *w, struct span text);

/** What is known to be text (our own words, or pack_is_text()): not looked at again. */
static inline void
pack_text(struct pack_writer *w, struct span text)
{
    /* Records are made of hundreds of them, mostly keys: head and text at once. */
    char *at = w->at;

    if (text.len > PACK_FIXSTR_MAX || text.len >= (size_t)(w->end - at)) {
        pack_text_slowly(w, text);
        return;
    }
    *at++ = (char)(PACK_FIXSTR | text.len);
    if (text.len) /* an empty span may have no place */
        memcpy(at, text.ptr, text.len);
    w->at = at + text.len;
}

/** The same, of n parts that stand behind each other. */
void pack_text_parts(struct pack_writer *w, const struct span *parts, size_t n);

/** Times before 1970 and after 2106 become the nearest that fits an EventTime. */
void pack_event_time(struct pack_writer *w, int64_t wall_ns);

/** Bytes that are MessagePack already, whole objects. */
void pack_raw(struct pack_writer *w, struct span objects);

/** Valid UTF-8 (RFC 3629) without control characters (U+0000 ... U+001F, U+007F ... U+009F) except
 * TAB, CR and LF, which replies of several lines hold? */
bool pack_is_text(struct span bytes);

/** Octets of the UTF-8 character at the start of s, 1 .. 4; 0 when it is none. s: not empty. */
size_t pack_char_len(struct span s);

#define PACK_MENDED_BYTES(len) (3 * (len) + 1) /* more than what pack_mend_text() makes of len */

/** Make text of any bytes: each octet that belongs to no UTF-8 character becomes U+FFFD, three
 * octets. out: room for PACK_MENDED_BYTES(bytes.len). Returns the octets written. */
size_t pack_mend_text(struct span bytes, char *out);

/* ---- reading ---- */

/** Walk over one object at the start of bytes, without allocation.
 *
 * max_bytes  the longest object accepted
 * out_len    its length on RES_OK, otherwise 0
 *
 * RES_AGAIN   bytes end within it; so far nothing is wrong, and it may still fit max_bytes
 * RES_SYNTAX  a byte that no object starts with (0xc1)
 * RES_LIMIT   longer than max_bytes by what it declares, or nested deeper than PACK_DEPTH_MAX */
MUST_CHECK enum result pack_check(struct span bytes, size_t max_bytes, size_t *out_len);

enum pack_type {
    PACK_NONE, /* nothing is left, or an earlier call failed, or no object starts like this */
    PACK_NIL,
    PACK_BOOL,
    PACK_UINT, /* also a positive number in a signed encoding */
    PACK_INT,  /* a negative number */
    PACK_FLOAT,
    PACK_STR,
    PACK_BIN,
    PACK_ARRAY,
    PACK_MAP,
    PACK_EXT,
};

struct pack_reader {
    struct span rest; /* not read yet; borrowed */
    enum result res;  /* the first failure: RES_SYNTAX or RES_LIMIT */
};

/** bytes: one or more objects, complete; borrowed until the last use of r and of spans it gave. */
void pack_reader_init(struct pack_reader *r, struct span bytes);

/** RES_OK: every call succeeded and nothing is left. RES_SYNTAX: cut, another type than asked for,
 * or bytes left over. RES_LIMIT: a value or count beyond what the caller allowed. */
MUST_CHECK enum result pack_reader_end(const struct pack_reader *r);

/** Note a failure of the caller's own checks; the first one sticks, RES_OK changes nothing. */
void pack_reader_fail(struct pack_reader *r, enum result res);

/** What the next object is; reads nothing. */
enum pack_type pack_peek_type(const struct pack_reader *r);

/** The header of an array or map: how many elements or pairs follow. RES_LIMIT beyond max; a count
 * that the bytes left cannot hold is RES_SYNTAX. */
size_t pack_read_array(struct pack_reader *r, size_t max);
size_t pack_read_map(struct pack_reader *r, size_t max);

/** The same for an array of exactly n elements (RES_SYNTAX otherwise). */
void pack_read_tuple(struct pack_reader *r, size_t n);

void pack_read_nil(struct pack_reader *r);
bool pack_read_bool(struct pack_reader *r);

/** RES_LIMIT outside 0 .. max, or min .. max. */
uint64_t pack_read_uint(struct pack_reader *r, uint64_t max);
int64_t pack_read_int(struct pack_reader *r, int64_t min, int64_t max);
double pack_read_float(struct pack_reader *r);

/** str, or bin; any bytes of any length. Borrowed from the reader's bytes. */
struct span pack_read_str(struct pack_reader *r);
struct span pack_read_bin(struct pack_reader *r);

/** A str into a C string: RES_LIMIT when it is longer than size - 1, RES_SYNTAX with a NUL in it;
 * dst is "" on failure. size: 1 or more. */
void pack_read_text(struct pack_reader *r, char *dst, size_t size);

/** A bin of exactly size bytes (RES_SYNTAX otherwise); zeros on failure. */
void pack_read_bytes(struct pack_reader *r, void *dst, size_t size);

/** Nanoseconds since 1970-01-01 UTC. */
int64_t pack_read_event_time(struct pack_reader *r);

/** Step over one object; RES_LIMIT when it is nested deeper than PACK_DEPTH_MAX. */
void pack_skip(struct pack_reader *r);

/** The same, and give its bytes. */
struct span pack_read_raw(struct pack_reader *r);

#endif
