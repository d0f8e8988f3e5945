/* proxy/connection_record.h: what a session has to tell, told: to the records, to the log and to
 * the counters. Context: worker, on its event loop. */
#ifndef STSGATE_PROXY_CONNECTION_RECORD_H
#define STSGATE_PROXY_CONNECTION_RECORD_H

struct connection_shared;
struct record_recipient;
struct record_session_end;

void connection_record_recipient(struct connection_shared *shared,
                                 const struct record_recipient *record);
void connection_record_session(struct connection_shared *shared,
                               const struct record_session_end *record);

#endif
