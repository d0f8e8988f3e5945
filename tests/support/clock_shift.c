/* tests/support/clock_shift.c: preloaded into a program, it moves its wall clock, and that of its
 * children, by the seconds that stand in the file named by CLOCK_SHIFT (a native int64_t), as they
 * are at the moment. The steady clock stays. For tests/soak.py: a machine's clock is not a test's
 * to set. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*clock_reader)(clockid_t id, struct timespec *out);

static const volatile int64_t nowhere;
static const volatile int64_t *shift = &nowhere;

/* Before the program fences itself in. */
static void __attribute__((constructor)) open_shift(void)
{
    const char *path = getenv("CLOCK_SHIFT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);

    if (page != MAP_FAILED)
        shift = page;
    if (fd >= 0)
        close(fd);
}

/* Constructors of other libraries may ask for the time before ours has run. */
static int
real_clock(clockid_t id, struct timespec *out)
{
    static clock_reader real;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(id, out);
}

int
clock_gettime(clockid_t id, struct timespec *out)
{
    int rc = real_clock(id, out);

    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        out->tv_sec += *shift;
    return rc;
}

time_t
time(time_t *out)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* it has this clock */
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int
gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
    return 0;
}
