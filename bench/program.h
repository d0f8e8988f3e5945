/* bench/program.h: what the two programs that load and receive have in common: numbers and
 * addresses on the command line, descriptors for many sessions, the CPU they took themselves.
 * Context: the bench programs, at start and end. */
#ifndef STSGATE_BENCH_PROGRAM_H
#define STSGATE_BENCH_PROGRAM_H

#include <stdint.h>
#include <sys/socket.h>

struct program_endpoint {
    struct sockaddr_storage addr;
    socklen_t len;
};

/** "ADDRESS:PORT" or "[ADDRESS]:PORT". Anything else ends the program with status 2. */
void program_parse_endpoint(const char *text, struct program_endpoint *out);

/** A number from min to max. Anything else ends the program with status 2; option names it. */
uint64_t program_parse_number(const char *option, const char *text, uint64_t min, uint64_t max);

/** As many descriptors as the machine lets us have; and no signal when a peer goes. */
void program_prepare(void);

/** User and system time of this process so far. */
double program_cpu_s(void);

/** "NAME: WHAT: reason of errno" on standard error, and the end. */
_Noreturn void program_die(const char *what);

#endif
