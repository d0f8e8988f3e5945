/* tests/proxy/record_samples.h: one record of each kind with every field filled, for the tests of
 * records and of `stsgate log`. */
#ifndef STSGATE_TESTS_PROXY_RECORD_SAMPLES_H
#define STSGATE_TESTS_PROXY_RECORD_SAMPLES_H

#include "proxy/record.h"

#define SAMPLE_WALL_NS INT64_C(1700000000123456789)

/* Points into itself: not to be copied. */
struct record_samples {
    struct record_session_info info;
    struct requirement *req;
    struct observation *obs;
    struct verdict verdict;
    struct session_report report;
    struct record_recipient recipient;
    struct record_session_end end;
    struct record_survey survey;
    struct record_policy policy;
    struct record_process process;
};

void record_samples_init(struct record_samples *samples);
void record_samples_clear(struct record_samples *samples);

#endif
