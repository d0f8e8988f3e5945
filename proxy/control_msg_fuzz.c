/* Any packet: refused, or a message within its ranges that reads the same when it is written again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/control_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_message msg, again;
    char packet[CONTROL_MSG_MAX_BYTES];
    size_t len;

    if (control_msg_read(span_make(data, size), &msg) != RES_OK) {
        if (msg.type || msg.worker || msg.value)
            abort();
        return 0;
    }
    if (msg.worker >= CONTROL_WORKERS_MAX || msg.value > CONTROL_VALUE_MAX ||
        !*control_type_name(msg.type))
        abort();
    /* Numbers may come in longer encodings than the one we write, so the values are compared. */
    len = control_msg_write(&msg, packet);
    if (len == 0 || len > size || control_msg_read(span_make(packet, len), &again) != RES_OK ||
        again.type != msg.type || again.worker != msg.worker || again.value != msg.value)
        abort();
    return 0;
}
