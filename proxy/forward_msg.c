#include "proxy/forward_msg.h"

#define ANSWER_PAIRS_MAX 8u

enum result
forward_encode(struct span records, size_t count, const char chunk[FORWARD_CHUNK_LEN + 1],
               struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 3);
    pack_str(&w, span_of(FORWARD_TAG));
    pack_bin(&w, records);
    pack_map(&w, 2);
    pack_str(&w, span_of("size"));
    pack_uint(&w, count);
    pack_str(&w, span_of("chunk"));
    pack_str(&w, span_of(chunk));
    return pack_end(&w);
}

enum result
forward_decode_ack(struct span bytes, const char chunk[FORWARD_CHUNK_LEN + 1], size_t *out_len)
{
    struct span ack = span_of("");
    struct pack_reader r;
    enum result res;
    size_t pairs;

    *out_len = 0;
    res = pack_check(bytes, FORWARD_ANSWER_MAX, out_len);
    if (res != RES_OK)
        return res;
    pack_reader_init(&r, span_first(bytes, *out_len));
    pairs = pack_read_map(&r, ANSWER_PAIRS_MAX);
    for (size_t i = 0; i < pairs && r.res == RES_OK; i++) {
        struct span key = pack_read_str(&r);

        if (span_equal(key, span_of("ack")))
            ack = pack_read_str(&r);
        else
            pack_skip(&r);
    }
    res = pack_reader_end(&r);
    if (res != RES_OK)
        return res;
    return span_equal(ack, span_of(chunk)) ? RES_OK : RES_DENIED;
}
