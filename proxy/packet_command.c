#include "proxy/packet_command.h"

#include <stdio.h>
#include <string.h>

#include "proxy/packet_check.h"
#include "proxy/packet_rules.h"

#define ERROR_MAX 1024u
#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"

enum { EXIT_WELL, EXIT_FAULTS, EXIT_WRONG, EXIT_BLIND };

static const char usage[] =
    "usage: stsgate rules [--routes | --check | --remove] [-c FILE]\n\n"
    "Prints the packet rules that lead mail to the gateway, for `nft -f -`.\n\n"
    "  --routes   the routes that they need, for `sh`\n"
    "  --check    compare this machine with both, as root; exit status 1: something is wrong\n"
    "  --remove   what takes both away again, for `sh`\n";

static int
check(const struct config *config)
{
    unsigned faults;

    switch (packet_check(config, stdout, &faults)) {
    case RES_OK:
        if (faults == 0)
            puts("rules and routes are in force");
        return faults ? EXIT_FAULTS : EXIT_WELL;
    case RES_DENIED:
        fputs("stsgate: --check needs root, and leave to make a network namespace\n", stderr);
        return EXIT_BLIND;
    case RES_SYNTAX:
        fputs("stsgate: --check could not look: nft and this kernel do not take the rules\n",
              stderr);
        return EXIT_BLIND;
    case RES_AGAIN:
    case RES_NOMEM:
    case RES_LIMIT:
    case RES_TEMPFAIL:
        break;
    }
    fputs("stsgate: --check could not look: are nft and ip installed, and is this root?\n", stderr);
    return EXIT_BLIND;
}

static int
act(const char *action, const struct config *config)
{
    if (strcmp(action, "--check") == 0)
        return check(config);
    if (strcmp(action, "--routes") == 0)
        packet_rules_print_routes(config, stdout);
    else if (strcmp(action, "--remove") == 0)
        packet_rules_print_removal(config, stdout);
    else
        packet_rules_print(config, stdout);
    return fflush(stdout) == 0 ? EXIT_WELL : EXIT_BLIND;
}

static bool
is_action(const char *text)
{
    return strcmp(text, "--routes") == 0 || strcmp(text, "--check") == 0 ||
           strcmp(text, "--remove") == 0;
}

int
packet_main(int argc, char **argv)
{
    const char *path = DEFAULT_CONFIG, *action = "", *why;
    char error[ERROR_MAX];
    struct config *config;
    int status = EXIT_WRONG;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else if (is_action(argv[i]) && !*action) {
            action = argv[i];
        } else {
            fputs(usage, stderr);
            return EXIT_WRONG;
        }
    }
    if (config_read(path, &config, NULL, NULL, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s\n", error);
        return EXIT_WRONG;
    }
    why = packet_rules_objection(config);
    if (why)
        fprintf(stderr, "%s: %s\n", path, why);
    else
        status = act(action, config);
    config_free(config);
    return status;
}
