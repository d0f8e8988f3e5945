#include "bench/program.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/ip_addr.h"

static bool
parse_number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' && *out <= max;
}

uint64_t
program_parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value;

    if (parse_number(text, max, &value) && value >= min)
        return value;
    fprintf(stderr, "--%s: a number from %" PRIu64 " to %" PRIu64 " is wanted, not \"%s\"\n",
            option, min, max, text);
    exit(2);
}

void
program_parse_endpoint(const char *text, struct program_endpoint *out)
{
    const char *colon = strrchr(text, ':');
    char host[IP_ADDR_TEXT_MAX + 2] = "";
    const char *start = host;
    struct ip_addr addr;
    uint64_t port;

    if (colon && (size_t)(colon - text) < sizeof host)
        memcpy(host, text, (size_t)(colon - text));
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        start++;
    }
    if (!colon || ip_addr_parse(start, &addr) != RES_OK || !parse_number(colon + 1, 65535, &port)) {
        fprintf(stderr, "\"%s\" is not ADDRESS:PORT\n", text);
        exit(2);
    }
    out->len = ip_addr_to_sockaddr(&addr, (uint16_t)port, &out->addr);
}

void
program_prepare(void)
{
    struct rlimit limit;

    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        program_die("RLIMIT_NOFILE");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        program_die("RLIMIT_NOFILE");
}

double
program_cpu_s(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

void
program_die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}
