/* proxy/main.c: the command `stsgate`. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/child_process.h"
#include "proxy/config_files.h"
#include "proxy/config_manual.h"
#include "proxy/gateway_command.h"
#include "proxy/log_command.h"
#include "proxy/packet_command.h"
#include "proxy/policy_command.h"
#include "proxy/report_command.h"
#include "proxy/sandbox.h"
#include "proxy/supervisor.h"

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"
#define EXIT_USAGE 2       /* wrong usage and wrong configuration alike */
#define EXIT_CHECK_USAGE 4 /* of `stsgate check`, whose 2 says that a domain has no policy */
#define ERROR_MAX 1024u

struct verb {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit status */
    const char *synopsis, *help;
};

static bool
asks_for_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int
usage_error(const char *what, const char *argument)
{
    fprintf(stderr, "stsgate: %s%s; see `stsgate help`\n", what, argument);
    return EXIT_USAGE;
}

/* The arguments behind a verb: nothing, or -c FILE. NULL: something else, which has been said. */
static const char *
config_path(int argc, char **argv)
{
    const char *path = DEFAULT_CONFIG;

    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "-c") != 0) {
            usage_error("unknown argument ", argv[i]);
            return NULL;
        }
        if (i + 1 == argc) {
            usage_error("-c needs a file", "");
            return NULL;
        }
        path = argv[i + 1];
    }
    return path;
}

/* Every session takes two descriptors; the soft limit of 1024 would come first. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("event=no-descriptor-limit reason=\"the limit of open files stays as it is\"");
}

static void
log_warning(void *arg, const char *text)
{
    char quoted[512];

    (void)arg;
    log_warn("event=config-warning text=%s", log_quote(quoted, sizeof quoted, span_of(text)));
}

static void
print_warning(void *path, const char *text)
{
    fprintf(stderr, "%s: warning: %s\n", (const char *)path, text);
}

static int
verb_run(int argc, char **argv)
{
    char worker[PATH_MAX], policy[PATH_MAX], status_page[PATH_MAX], error[ERROR_MAX];
    const char *path = config_path(argc, argv);
    struct service_sockets sockets = { 0 };
    struct config *config = NULL;
    char *text = NULL;
    size_t text_len = 0;
    int status = EXIT_USAGE;

    if (!path)
        return EXIT_USAGE;
    if (config_read(path, &config, &text, &text_len, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s\n", error);
        return EXIT_USAGE;
    }
    log_init("stsgate", config->log_level);
    if (config_check_files(config, error, sizeof error) != RES_OK ||
        config_check_records(config, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s: %s\n", path, error);
        goto done;
    }
    config_warnings(config, time(NULL), log_warning, NULL);
    config_warn_of_files(config, log_warning, NULL);
    if (child_process_find("stsgate-worker", worker, sizeof worker) != RES_OK ||
        child_process_find("stsgate-policy", policy, sizeof policy) != RES_OK) {
        log_error(
            "event=start-failed reason=\"stsgate-worker or stsgate-policy is missing: install "
            "them beside stsgate\"");
        goto done;
    }
    if (child_process_find("stsgate-status", status_page, sizeof status_page) != RES_OK)
        *status_page = '\0';
    if (service_sockets_take(&sockets, error, sizeof error) != RES_OK) {
        log_error("event=start-failed reason=\"%s\"", error);
        goto done;
    }
    raise_descriptor_limit();
    sandbox_supervisor();
    log_info("event=start version=" STSGATE_VERSION " config=%s workers=%u", path, config->workers);
    status =
        (int)supervisor_run(&(struct supervisor_setup){ .config_name = path,
                                                        .config_text = span_make(text, text_len),
                                                        .config = config,
                                                        .worker_path = worker,
                                                        .policy_path = policy,
                                                        .sockets = &sockets,
                                                        .status_path = status_page,
                                                        .started_s = time(NULL) });
done:
    service_sockets_close(&sockets);
    config_free(config);
    free(text);
    return status;
}

static int
verb_config(int argc, char **argv)
{
    char error[ERROR_MAX];
    struct config *config;
    const char *path;

    if (argc == 2 && strcmp(argv[1], "manual") == 0) {
        config_manual_write(stdout);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "check") != 0)
        return usage_error("usage: stsgate config check [-c FILE], or config manual", "");
    path = config_path(argc - 1, argv + 1);
    if (!path)
        return EXIT_USAGE;
    if (config_read(path, &config, NULL, NULL, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s\n", error);
        return EXIT_USAGE;
    }
    if (config_check_files(config, error, sizeof error) != RES_OK ||
        config_check_records(config, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s: %s\n", path, error);
        config_free(config);
        return EXIT_USAGE;
    }
    config_warnings(config, time(NULL), print_warning, (void *)(uintptr_t)path);
    config_warn_of_files(config, print_warning, (void *)(uintptr_t)path);
    printf("%s: good\n", path);
    config_free(config);
    return 0;
}

static int
verb_version(int argc, char **argv)
{
    if (argc > 1)
        return usage_error("unknown argument ", argv[1]);
    puts("stsgate " STSGATE_VERSION);
    return 0;
}

/* A program of its own, since it speaks TLS with the MX hosts. */
static int
verb_check(int argc, char **argv)
{
    char path[PATH_MAX];

    (void)argc;
    if (child_process_find("stsgate-check", path, sizeof path) == RES_OK)
        execv(path, argv);
    fprintf(stderr, "stsgate: stsgate-check cannot be started: install it beside stsgate\n");
    return EXIT_CHECK_USAGE;
}

static int verb_help(int argc, char **argv);

static const struct verb verbs[] = {
    { "run", verb_run, "run [-c FILE]", "start the gateway and stay in the foreground" },
    { "config", verb_config, "config check [-c FILE]", "check a configuration" },
    { "check", verb_check, "check DOMAIN ...",
      "what a domain publishes, and what would become of mail to it" },
    { "rules", packet_main, "rules ...",
      "packet rules and routes for a configuration; checks them" },
    { "log", log_main, "log ...", "show records; `stsgate log --help` tells more" },
    { "status", status_main, "status [--json]", "how the gateway goes" },
    { "sessions", sessions_main, "sessions [--json]", "the SMTP sessions that are open now" },
    { "policy", policy_main, "policy ...", "policies in force; `stsgate policy` tells more" },
    { "report", report_main, "report ...", "TLS reports; `stsgate report --help` tells more" },
    { "mode", mode_main, "mode [MODE]", "monitor, enforce or enforce N%, until the next reload" },
    { "reload", reload_main, "reload [-c FILE]", "read the configuration again" },
    { "drain", drain_main, "drain [-c FILE]", "finish the open sessions and end" },
    { "--version", verb_version, "--version", "print the version" },
    { "help", verb_help, "help", "print this" },
};

static void
print_usage(FILE *out)
{
    fputs("usage: stsgate VERB ...\n\n", out);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        fprintf(out, "  %-24s %s\n", verbs[i].synopsis, verbs[i].help);
    fputs("\nFILE is " DEFAULT_CONFIG " unless given. Exit status: 0 well; 2 wrong usage or\n"
          "configuration; 3 no gateway answers; 1 anything else. Of `check`: 0 mail passes, under "
          "a policy;\n"
          "1 it would be refused; 2 nothing protects it; 3 it cannot be said now; 4 wrong usage.\n",
          out);
}

static int
verb_help(int argc, char **argv)
{
    (void)argc, (void)argv;
    print_usage(stdout);
    return 0;
}

/* The verbs that have no more to tell than the usage. Others answer for themselves. */
static bool
is_told_by_usage(const struct verb *verb)
{
    return verb->run == verb_run || verb->run == verb_config;
}

int
main(int argc, char **argv)
{
    if (argc > 1 && asks_for_help(argv[1]))
        return verb_help(argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return is_told_by_usage(&verbs[i]) && asks_for_help(argv[argc - 1])
                       ? verb_help(argc, argv)
                       : verbs[i].run(argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "stsgate: unknown verb %s\n", argv[1]);
    print_usage(stderr);
    return EXIT_USAGE;
}
