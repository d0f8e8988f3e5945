/* proxy/forward_msg.h: Fluentd's forward protocol, version 1, as much of it as a sender needs: mode
 * PackedForward with acknowledgement. Context: any process. Pure.
 *
 *     [tag, bin of concatenated [EventTime, map], { "size": entries, "chunk": id }]
 *     { "ack": id }
 */
#ifndef STSGATE_PROXY_FORWARD_MSG_H
#define STSGATE_PROXY_FORWARD_MSG_H

#include "base/pack.h"

#define FORWARD_TAG "stsgate"
#define FORWARD_CHUNK_LEN 24u    /* characters of an id, as Fluent Bit has them */
#define FORWARD_ANSWER_MAX 512u  /* octets of an answer; more is no answer of ours */
#define FORWARD_FRAME_BYTES 128u /* what a message has beside its records, at most */

/** Append a message: count records, which are whole entries. RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result forward_encode(struct span records, size_t count,
                                      const char chunk[FORWARD_CHUNK_LEN + 1], struct buffer *out);

/** Is the start of bytes the acknowledgement of chunk? out_len: octets it has, on RES_OK and
 * RES_DENIED.
 * RES_OK; RES_AGAIN: cut; RES_DENIED: of another chunk; RES_SYNTAX, RES_LIMIT: nothing of the kind.
 */
MUST_CHECK enum result forward_decode_ack(struct span bytes,
                                          const char chunk[FORWARD_CHUNK_LEN + 1], size_t *out_len);

#endif
