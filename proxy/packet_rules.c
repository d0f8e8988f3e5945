#include "proxy/packet_rules.h"

#include <inttypes.h>

#define IPV4 4
#define IPV6 16

static const struct {
    unsigned char len;
    const char *proto, *set, *header, *all;
} families[] = { { IPV4, "ipv4", "bypass4", "ip", "0.0.0.0/0" },
                 { IPV6, "ipv6", "bypass6", "ip6", "::/0" } };

#define FAMILIES (sizeof families / sizeof *families)

/* ---- what the configuration asks for ---- */

static bool
takes_family(const struct config_listen *listen, unsigned char len)
{
    static const struct ip_addr any = { .len = IPV6 };

    return listen->addr.len == len || ip_addr_equal(&listen->addr, &any);
}

/* The first of its kind; NULL: none for this family. */
static const struct config_listen *
find_listener(const struct config *config, enum intercept kind, unsigned char len)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listen[i].kind == kind && takes_family(&config->listen[i], len))
            return &config->listen[i];
    return NULL;
}

static bool
listens(const struct config *config, enum intercept kind)
{
    return find_listener(config, kind, IPV4) || find_listener(config, kind, IPV6);
}

/* Where both are configured tproxy leads: it keeps both addresses of a connection. */
static enum intercept
lead_of(const struct config *config)
{
    return listens(config, INTERCEPT_TPROXY)     ? INTERCEPT_TPROXY
           : listens(config, INTERCEPT_REDIRECT) ? INTERCEPT_REDIRECT
                                                 : INTERCEPT_PROXY;
}

bool
packet_rules_need_routes(const struct config *config)
{
    return lead_of(config) == INTERCEPT_TPROXY || config->upstream_as_client;
}

const char *
packet_rules_objection(const struct config *config)
{
    if (lead_of(config) == INTERCEPT_PROXY)
        return "no rules lead to listen_proxy: its load balancer connects to it";
    if (config->inside_count == 0 && !config->own_mail)
        return "inside_interfaces is empty: name the interfaces where the mail clients are";
    return NULL;
}

/* ---- pieces of rules ---- */

static void
print_ports(const struct config *config, FILE *out)
{
    size_t count = config->destination_port_count;

    fputs(count == 1 ? "tcp dport " : "tcp dport { ", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%u", i ? ", " : "", config->destination_ports[i]);
    if (count > 1)
        fputs(" }", out);
}

static bool
has_bypass(const struct config *config, unsigned char len)
{
    for (size_t i = 0; i < config->bypass_count; i++)
        if (config->bypass[i].addr.len == len)
            return true;
    return false;
}

static void
print_bypass_set(const struct config *config, size_t family, FILE *out)
{
    const char *separator = "";
    char text[IP_ADDR_TEXT_MAX];

    if (!has_bypass(config, families[family].len))
        return;
    fprintf(out,
            "    set %s {\n        type %s_addr\n        flags interval\n        auto-merge\n"
            "        elements = { ",
            families[family].set, families[family].proto);
    for (size_t i = 0; i < config->bypass_count; i++) {
        const struct ip_net *net = &config->bypass[i];

        if (net->addr.len != families[family].len)
            continue;
        fprintf(out, "%s%s/%u", separator, ip_addr_text(&net->addr, text), net->bits);
        separator = ", ";
    }
    fputs(" }\n    }\n\n", out);
}

static void
print_sets(const struct config *config, FILE *out)
{
    fputs("    set inside {\n        type ifname\n        elements = { ", out);
    for (size_t i = 0; i < config->inside_count; i++)
        fprintf(out, "%s\"%s\"", i ? ", " : "", config->inside[i]);
    /* A mail server on the gateway is led back in by lo. */
    if (config->own_mail && lead_of(config) == INTERCEPT_TPROXY)
        fputs(config->inside_count ? ", \"lo\"" : "\"lo\"", out);
    else if (config->inside_count == 0)
        fputs("\"lo\"", out);
    fputs(" }\n    }\n\n", out);
    for (size_t i = 0; i < FAMILIES; i++)
        print_bypass_set(config, i, out);
}

/* What is not looked at, whoever of the two ends is listed. */
static void
print_bypass(const struct config *config, FILE *out)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (has_bypass(config, families[i].len))
            fprintf(out, "        %s saddr @%s return\n        %s daddr @%s return\n",
                    families[i].header, families[i].set, families[i].header, families[i].set);
}

static void
print_loop_guard(const struct config *config, FILE *out)
{
    if (config->upstream_mark)
        fprintf(out, "        meta mark 0x%08" PRIx32 " return\n", config->upstream_mark);
}

/* Of the listener: all addresses, or the one. */
static void
print_target(const struct config_listen *listen, FILE *out)
{
    static const struct ip_addr any6 = { .len = IPV6 }, any4 = { .len = IPV4 };
    char text[IP_ADDR_TEXT_MAX];

    if (ip_addr_equal(&listen->addr, &any6) || ip_addr_equal(&listen->addr, &any4))
        fprintf(out, ":%u", listen->port);
    else
        fprintf(out, listen->addr.len == IPV6 ? "[%s]:%u" : "%s:%u",
                ip_addr_text(&listen->addr, text), listen->port);
}

/* ---- chains ---- */

/* Packets of connections that the gateway holds with an address that is not its own. Not a SYN:
 * where its port was used shortly before, it would be led to what is in TIME-WAIT, which knows no
 * listener of another port; tproxy does. */
static void
print_held(const struct config *config, FILE *out)
{
    fprintf(out,
            "        tcp flags & (syn | ack) != syn socket transparent 1 meta mark set 0x%08" PRIx32
            " counter name taken accept\n",
            config->taken_mark);
}

/* The host's own mail has been routed to the host. Where no listener took it, a mail server of the
 * host itself would: it would be given its own mail as if it were the MX. */
static void
print_own_unclaimed(const struct config *config, FILE *out)
{
    if (!config->own_mail)
        return;
    fprintf(out, "        iifname \"lo\" meta mark 0x%08" PRIx32 " ", config->taken_mark);
    print_ports(config, out);
    fputs(" counter name refused reject with tcp reset\n", out);
}

static void
print_tproxy(const struct config *config, FILE *out)
{
    fputs("    chain prerouting {\n"
          "        type filter hook prerouting priority mangle; policy accept;\n",
          out);
    print_loop_guard(config, out);
    print_held(config, out);
    print_bypass(config, out);
    fputs("        fib daddr type local return\n", out);
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct config_listen *listen =
            find_listener(config, INTERCEPT_TPROXY, families[i].len);

        if (!listen)
            continue;
        fprintf(out, "        meta nfproto %s iifname @inside ", families[i].proto);
        print_ports(config, out);
        fprintf(out, " tproxy %s to ", families[i].header);
        print_target(listen, out);
        fprintf(out, " meta mark set 0x%08" PRIx32 " counter name taken accept\n",
                config->taken_mark);
    }
    print_own_unclaimed(config, out);
    fputs("    }\n\n", out);
}

/* In the chain of either hook; match: what comes before the ports. */
static void
print_redirections(const struct config *config, const char *match, FILE *out)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct config_listen *listen =
            find_listener(config, INTERCEPT_REDIRECT, families[i].len);

        if (!listen)
            continue;
        fprintf(out, "        meta nfproto %s %s", families[i].proto, match);
        print_ports(config, out);
        fprintf(out, " counter name taken redirect to :%u\n", listen->port);
    }
}

static void
print_redirect(const struct config *config, FILE *out)
{
    fputs("    chain prerouting {\n"
          "        type nat hook prerouting priority dstnat; policy accept;\n",
          out);
    print_loop_guard(config, out);
    print_bypass(config, out);
    fputs("        fib daddr type local return\n", out);
    print_redirections(config, "iifname @inside ", out);
    fputs("    }\n\n", out);
    if (!config->upstream_as_client)
        return;
    fputs("    chain held {\n"
          "        type filter hook prerouting priority mangle; policy accept;\n",
          out);
    print_held(config, out);
    fputs("    }\n\n", out);
}

/* A mail server on the gateway itself. "dstnat" is no name of a priority in output. */
static void
print_output(const struct config *config, FILE *out)
{
    bool tproxy = lead_of(config) == INTERCEPT_TPROXY;

    if (!config->own_mail)
        return;
    fprintf(out, "    chain output {\n        type %s hook output priority %s; policy accept;\n",
            tproxy ? "route" : "nat", tproxy ? "mangle" : "-100");
    print_loop_guard(config, out);
    print_bypass(config, out);
    fputs("        fib daddr type local return\n", out);
    if (tproxy) {
        fputs("        ", out);
        print_ports(config, out);
        fprintf(out, " meta mark set 0x%08" PRIx32 "\n", config->taken_mark);
    } else {
        print_redirections(config, "", out);
    }
    fputs("    }\n\n", out);
}

/* Without a listener tproxy does not match, and the packet would go on to the MX, unprotected; so
 * would connections from before the rules were loaded. */
static void
print_forward(const struct config *config, FILE *out)
{
    fputs("    chain forward {\n"
          "        type filter hook forward priority filter; policy accept;\n",
          out);
    print_bypass(config, out);
    fputs("        iifname @inside ", out);
    print_ports(config, out);
    fputs(" counter name refused reject with tcp reset\n    }\n", out);
}

/* ---- the whole ---- */

void
packet_rules_print(const struct config *config, FILE *out)
{
    fputs("#!/usr/sbin/nft -f\n"
          "# Made by `stsgate rules`. Load: stsgate rules | nft -f -   (any number of times)\n",
          out);
    if (packet_rules_need_routes(config))
        fputs("# It needs routes: stsgate rules --routes | sh\n", out);
    fputs("# Look whether all is in force: stsgate rules --check. Undo: stsgate rules --remove | "
          "sh\n\n"
          "table " PACKET_RULES_TABLE "\ndelete table " PACKET_RULES_TABLE "\n\n"
          "table " PACKET_RULES_TABLE " {\n"
          "    # what went to the gateway's listener\n"
          "    counter taken {\n    }\n\n"
          "    # what went past it, and was refused\n"
          "    counter refused {\n    }\n\n",
          out);
    print_sets(config, out);
    if (lead_of(config) == INTERCEPT_TPROXY)
        print_tproxy(config, out);
    else
        print_redirect(config, out);
    print_output(config, out);
    print_forward(config, out);
    fputs("}\n", out);
}

/* As lines of sh, for each family that the kernel has: first away with what is there, as `ip rule
 * add` would add a second one. */
static void
print_per_family(bool add, const struct config *config, FILE *out)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        const char *option = families[i].len == IPV4 ? "-4" : "-6";

        fputs(families[i].len == IPV4 ? "" : "if [ -e /proc/net/if_inet6 ]; then\n", out);
        fprintf(out,
                "while ip %s rule del fwmark 0x%" PRIx32 " lookup %u 2>/dev/null; do :; done\n",
                option, config->taken_mark, config->taken_table);
        fprintf(out, "ip %s route %s local %s dev lo table %u%s\n", option, add ? "replace" : "del",
                families[i].all, config->taken_table, add ? "" : " 2>/dev/null || :");
        if (add)
            fprintf(out, "ip %s rule add fwmark 0x%" PRIx32 " lookup %u\n", option,
                    config->taken_mark, config->taken_table);
        fputs(families[i].len == IPV4 ? "" : "fi\n", out);
    }
}

void
packet_rules_print_routes(const struct config *config, FILE *out)
{
    fputs("#!/bin/sh\n# Made by `stsgate rules --routes`. Packets with the mark are for this host, "
          "wherever "
          "they go.\n",
          out);
    if (!packet_rules_need_routes(config)) {
        fputs("# This configuration needs no routes.\n", out);
        return;
    }
    fputs("set -eu\n", out);
    print_per_family(true, config, out);
}

void
packet_rules_print_removal(const struct config *config, FILE *out)
{
    fputs("#!/bin/sh\n# Made by `stsgate rules --remove`. Mail passes unprotected from now on.\n"
          "set -eu\nnft 'table " PACKET_RULES_TABLE "; delete table " PACKET_RULES_TABLE "'\n",
          out);
    if (packet_rules_need_routes(config))
        print_per_family(false, config, out);
}
