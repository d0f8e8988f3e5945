#include "proxy/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/account.h"
#include "proxy/call_filter.h"
#include "proxy/config.h"
#include "proxy/file_fence.h"

enum result
sandbox_become(const char *user, char *error, size_t error_size)
{
    struct account account;
    enum result res;

    if (!*user || geteuid() != 0)
        return RES_OK;
    res = account_find(user, &account, error, error_size);
    if (res != RES_OK)
        return res;
    if (prctl(PR_SET_KEEPCAPS, 1) != 0 || initgroups(user, account.gid) != 0 ||
        setresgid(account.gid, account.gid, account.gid) != 0 ||
        setresuid(account.uid, account.uid, account.uid) != 0 || prctl(PR_SET_KEEPCAPS, 0) != 0) {
        snprintf(error, error_size, "cannot become user %s: %s", user, strerror(errno));
        return RES_DENIED;
    }
    /* The kernel forgot it with the change of user. Who lost its parent meanwhile finds its control
     * channel closed. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    return RES_OK;
}

/* ---- capabilities ---- */

static bool
keep_capabilities(bool raw, bool admin)
{
    capng_clear(CAPNG_SELECT_BOTH);
    if (raw)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_RAW);
    if (admin)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
    return capng_apply(CAPNG_SELECT_CAPS) == 0;
}

static bool
can_mark(uint32_t mark)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

/* What workers make to MXs, and the policy process to the relay that takes its reports, no rule may
 * take over (PRX-003, RPT-080). */
static bool
sets_marks(enum sandbox_kind kind, const struct config *config)
{
    switch (kind) {
    case SANDBOX_WORKER:
        return config->upstream_mark;
    case SANDBOX_POLICY:
        return config->upstream_mark && config->tlsrpt_relay && *config->tlsrpt_relay;
    case SANDBOX_STATUS: /* which has no configuration */
        break;
    }
    return false;
}

/* CAP_NET_RAW is enough, but for marks on kernels before 5.17. out: what is left, for the log. */
static bool
drop_capabilities(enum sandbox_kind kind, const struct config *config, const char **out)
{
    bool is_worker = kind == SANDBOX_WORKER;
    bool wanted = sets_marks(kind, config) || (is_worker && config->upstream_as_client);
    bool has_raw, has_admin;

    *out = "none";
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* there are none before 4.3 */
    if (capng_get_caps_process() != 0)
        return false;
    has_raw = wanted && capng_have_capability(CAPNG_PERMITTED, CAP_NET_RAW);
    has_admin = wanted && is_worker && capng_have_capability(CAPNG_PERMITTED, CAP_NET_ADMIN);
    if (has_raw && has_admin && config->upstream_mark) {
        /* Permitted to come back, until it is known whether it is needed. */
        capng_clear(CAPNG_SELECT_BOTH);
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_RAW);
        capng_update(CAPNG_ADD, CAPNG_PERMITTED, CAP_NET_ADMIN);
        has_admin = capng_apply(CAPNG_SELECT_CAPS) != 0 || !can_mark(config->upstream_mark);
    } else if (has_raw) {
        has_admin = false;
    }
    if (has_raw)
        *out = has_admin ? "cap_net_raw,cap_net_admin" : "cap_net_raw";
    else if (has_admin)
        *out = "cap_net_admin";
    return keep_capabilities(has_raw, has_admin);
}

/* ---- files ---- */

/* copies: room for a path. */
static struct file_fence
fence_of(enum sandbox_kind kind, const struct config *config, char copies[PATH_MAX])
{
    switch (kind) {
    case SANDBOX_WORKER:
    case SANDBOX_STATUS:
        break;
    case SANDBOX_POLICY:
        /* Reports get names of their own in their folder. */
        snprintf(copies, PATH_MAX, *config->tlsrpt_directory ? "%s/report" : "%s",
                 config->tlsrpt_directory);
        /* libcurl reads the certificates anew for connections; libunbound anchor and hints late. */
        return (
            struct file_fence){ .read = { config->policy_ca_file, config->trust_anchor_file,
                                          config->resolver_root_hints },
                                .read_count = 3,
                                .write = { config->store_file, config->tlsrpt_store_file, copies },
                                .write_count = 3 };
    }
    return (struct file_fence){ 0 };
}

/* ---- the whole ---- */

static void
forbid_dumps(void)
{
    const struct rlimit none = { 0, 0 };

    if (SANDBOX_LOOSE)
        return;
    (void)setrlimit(RLIMIT_CORE, &none); /* lowering never fails */
    (void)prctl(PR_SET_DUMPABLE, 0); /* nor is there a process of the same user that may trace */
}

void
sandbox_supervisor(void)
{
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    forbid_dumps();
}

static const char *
yes_no(enum result res)
{
    return SANDBOX_LOOSE ? "loose" : res == RES_OK ? "yes" : "no";
}

static void
state(enum sandbox_kind kind, const struct config *config, const char *capabilities,
      enum result calls, enum result files)
{
    static const char *const sockets[] = {
        [SANDBOX_WORKER] = "tcp,unix", [SANDBOX_POLICY] = "tcp,udp,unix", [SANDBOX_STATUS] = "none"
    };
    bool all = calls == RES_OK && files == RES_OK && geteuid() != 0;
    char path[512];

    log_line(all ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
             "event=confined uid=%u capabilities=%s sockets=%s writes=%s call_filter=%s "
             "file_fence=%s programs=no",
             (unsigned)geteuid(), capabilities, sockets[kind],
             kind == SANDBOX_POLICY ? log_quote(path, sizeof path, span_of(config->store_file))
                                    : "no",
             yes_no(calls), yes_no(files));
}

enum result
sandbox_close(enum sandbox_kind kind, const struct config *config)
{
    char copies[PATH_MAX];
    const struct file_fence fence = fence_of(kind, config, copies);
    enum result files = RES_OK, calls;
    const char *capabilities;

    if (!drop_capabilities(kind, config, &capabilities) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log_error("event=start-failed what=privileges reason=\"%s\"", strerror(errno));
        return RES_DENIED;
    }
    forbid_dumps();
    if (!SANDBOX_LOOSE)
        files = file_fence_close(&fence);
    tzset(); /* the log's clock would read the time zone with its first line */
    calls = call_filter_load(kind);
    state(kind, config, capabilities, calls, files);
    return RES_OK;
}
