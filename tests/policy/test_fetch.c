/* tests/policy/test_fetch.c: fetching policies from a real nginx and from a server that answers as
 * no proper one would (tests/support/odd_https.py), on loopback, with certificates made when the
 * test starts. Skipped where nginx, python3 or openssl are missing. */
#include "policy/fetch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include <cmocka.h>

#include "tests/alloc_fail.h"
#include "tests/support/loop.h"
#include "tests/support/servers.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define GIVE_UP_S 30.  /* no test takes as long as that */
#define LONG_MS 20000  /* a limit that is not reached */
#define SHORT_MS 700   /* one that is */
#define MIDDLE_MS 2000 /* for tests in which some reach it and others do not */
#define FETCHES_MAX 10000u
#define LOG_TRIES 250u /* of 20 ms */
#define POLICY "version: STSv1\nmode: none\nmax_age: 1\n"

/* Who signed a certificate, and what is odd about it. */
enum issue {
    GOOD,
    INTERMEDIATE,
    NO_INTERMEDIATE,
    UNKNOWN,
    SELF_SIGNED,
    EXPIRED,
    FUTURE,
    CLIENT,
    WEAK
};

enum server { NGINX, ODD, PLAIN, OLD, CLOSED, SERVERS };

static struct fetch_case {
    const char *name;
    const char *domain;
    enum server server;
    const char *want;  /* "" for success, or the reason */
    const char *nginx; /* the location's contents; NULL: the policy as text/plain */
    enum issue issue;
    const char *san;     /* NULL: a dNSName of the policy host */
    const char *body;    /* NULL: POLICY */
    unsigned timeout_ms; /* 0: LONG_MS */
} cases[] = {
    /* Answers of a proper server. */
    { "TC-HTTP-01 STS-020 200 text/plain", "plain.test", NGINX, "", .nginx = NULL },
    { "TC-HTTP-06 STS-028 upper case and a charset", "upper.test", NGINX, "",
      .nginx = "default_type 'TEXT/PLAIN; charset=US-ASCII'; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 a charset", "charset.test", NGINX, "",
      .nginx = "default_type 'text/plain; charset=iso-8859-1'; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 parameters without blanks", "params.test", NGINX, "",
      .nginx = "default_type 'text/plain;charset=utf-8;x=y'; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 text/html", "html.test", NGINX, "content-type",
      .nginx = "default_type text/html; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 text/plainer", "plainer.test", NGINX, "content-type",
      .nginx = "default_type text/plainer; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 text/plain as a parameter", "parameter.test", NGINX, "content-type",
      .nginx = "default_type 'text/html; x=text/plain'; return 200 $policy;" },
    { "TC-HTTP-06 STS-028 no media type", "notype.test", NGINX, "content-type",
      .nginx = "default_type ''; return 200 $policy;" },
    { "TC-HTTP-17 STS-027 caching headers change nothing", "cached.test", NGINX, "",
      .nginx = "add_header Cache-Control max-age=99999; add_header ETag '\"x\"';"
               "add_header Expires 'Thu, 01 Jan 2099 00:00:00 GMT'; add_header Age 5;"
               "return 200 $policy;" },
    { "TC-HTTP-20 cookies and HSTS change nothing", "cookie.test", NGINX, "",
      .nginx = "add_header Set-Cookie a=b; add_header Alt-Svc 'h2=\":1\"';"
               "add_header Strict-Transport-Security max-age=99999; return 200 $policy;" },
    { "nginx would compress if it were asked to", "gzipped.test", NGINX, "",
      .nginx = "gzip on; gzip_types *; gzip_min_length 1; return 200 $policy;" },

    /* STS-025, STS-026: any other status. */
    { "TC-HTTP-03 201 with a body", "s201.test", NGINX, "http-201",
      .nginx = "return 201 $policy;" },
    { "TC-HTTP-03 203 with a body", "s203.test", NGINX, "http-203",
      .nginx = "return 203 $policy;" },
    { "TC-HTTP-03 204", "s204.test", NGINX, "http-204", .nginx = "return 204;" },
    { "TC-HTTP-03 206 with a body", "s206.test", NGINX, "http-206",
      .nginx = "return 206 $policy;" },
    { "TC-HTTP-03 304", "s304.test", NGINX, "http-304", .nginx = "return 304;" },
    { "TC-HTTP-02 301 to the same host", "s301.test", NGINX, "http-301",
      .nginx = "return 301 https://$host:$server_port/moved;" },
    { "TC-HTTP-02 302 to another host", "s302.test", NGINX, "http-302",
      .nginx = "return 302 https://mta-sts.plain.test:$server_port/moved;" },
    { "TC-HTTP-02 303", "s303.test", NGINX, "http-303", .nginx = "return 303 /moved;" },
    { "TC-HTTP-02 307", "s307.test", NGINX, "http-307", .nginx = "return 307 /moved;" },
    { "TC-HTTP-02 308", "s308.test", NGINX, "http-308", .nginx = "return 308 /moved;" },
    { "TC-HTTP-04 404", "s404.test", NGINX, "http-404", .nginx = "return 404;" },
    { "TC-HTTP-05 404 with a perfect body", "body404.test", NGINX, "http-404",
      .nginx = "return 404 $policy;" },
    { "TC-HTTP-04 410", "s410.test", NGINX, "http-410", .nginx = "return 410;" },
    { "TC-HTTP-04 500", "s500.test", NGINX, "http-500", .nginx = "return 500 $policy;" },
    { "TC-HTTP-04 503 with Retry-After", "s503.test", NGINX, "http-503",
      .nginx = "add_header Retry-After 1 always; return 503;" },
    { "401 is no reason to log in", "s401.test", NGINX, "http-401",
      .nginx = "add_header WWW-Authenticate 'Basic realm=x' always; return 401;" },

    /* STS-022: the chain. */
    { "TC-HTTP-07 expired", "expired.test", NGINX, "X509_V_ERR_CERT_HAS_EXPIRED",
      .issue = EXPIRED },
    { "TC-HTTP-07 not yet valid", "future.test", NGINX, "X509_V_ERR_CERT_NOT_YET_VALID",
      .issue = FUTURE },
    { "TC-HTTP-07 self-signed", "selfsigned.test", NGINX, "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
      .issue = SELF_SIGNED },
    { "TC-HTTP-07 unknown CA", "unknown.test", NGINX,
      "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY", .issue = UNKNOWN },
    { "TC-HTTP-07 intermediate", "inter.test", NGINX, "", .issue = INTERMEDIATE },
    { "TC-HTTP-07 missing intermediate", "nointer.test", NGINX,
      "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY", .issue = NO_INTERMEDIATE },
    { "a certificate for clients", "client.test", NGINX, "X509_V_ERR_INVALID_PURPOSE",
      .issue = CLIENT },
    { "an RSA key of 1024 bits", "weak.test", NGINX, "X509_V_ERR_EE_KEY_TOO_SMALL", .issue = WEAK },

    /* STS-023, STS-024: the name. The common name is the policy host's, always. */
    { "TC-HTTP-08 another name", "other.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:mta-sts.another.test" },
    { "TC-HTTP-08 the policy domain only", "domain.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:domain.test" },
    { "TC-HTTP-08 STS-023 the name in CN only", "cn.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "" },
    { "STS-023 the name in CN, an e-mail address beside it", "cnmail.test", NGINX,
      "X509_V_ERR_HOSTNAME_MISMATCH", .san = "email:a@cnmail.test" },
    { "STS-023 the name as URI", "uri.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "URI:https://mta-sts.uri.test/" },
    { "STS-023 the address", "address.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "IP:127.0.0.1" },
    { "the second name of two", "second.test", NGINX, "",
      .san = "DNS:www.second.test,DNS:mta-sts.second.test" },
    { "the name in upper case", "case.test", NGINX, "", .san = "DNS:MTA-STS.CASE.TEST" },
    { "TC-HTTP-09 STS-024 *.D", "wild.test", NGINX, "", .san = "DNS:*.wild.test" },
    { "TC-HTTP-10 STS-024 mta*.D", "partial.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:mta*.partial.test" },
    { "TC-HTTP-10 STS-024 *sts.D", "tail.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:*sts.tail.test" },
    { "TC-HTTP-10 STS-024 *.*.D", "double.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:*.*.test" },
    { "TC-HTTP-10 STS-024 *.test against a deeper name", "deep.test", NGINX,
      "X509_V_ERR_HOSTNAME_MISMATCH", .san = "DNS:*.test" },
    { "STS-024 * in the middle", "middle.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:mta-sts.*.test" },
    { "STS-024 *.mta-sts.D", "below.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH",
      .san = "DNS:*.mta-sts.below.test" },
    { "STS-024 * alone", "star.test", NGINX, "X509_V_ERR_HOSTNAME_MISMATCH", .san = "DNS:*" },

    /* STS-034 and other troubles before HTTP. */
    { "TC-HTTP-12 STS-034 TLS 1.1 only", "old.test", OLD, .want = "tls" },
    { "a server without TLS", "clear.test", PLAIN, .want = "tls" },
    { "nobody listens", "closed.test", CLOSED, .want = "connect" },

    /* Odd, and yet a policy. */
    { "the odd server can be proper", "good.test", ODD, .want = "" },
    { "header names in lower case, no blank", "lowercase.test", ODD, .want = "" },
    { "TC-HTTP-19 HTTP/1.0", "http10.test", ODD, .want = "" },
    { "a body that ends with the connection", "closed.test", ODD, .want = "" },
    { "chunked", "chunked.test", ODD, .want = "" },
    { "103 before the 200", "hints.test", ODD, .want = "" },
    { "Content-Encoding: identity", "identity.test", ODD, .want = "" },
    { "an empty body is for the parser to refuse", "empty.test", ODD, "", .body = "" },
    { "more octets than Content-Length are not read", "longer.test", ODD, "", .body = "version: " },

    /* TC-POL-30 STS-030: size. */
    { "STS-030 65 536 octets", "exact.test", ODD, "", .body = "64K" },
    { "STS-030 65 536 octets, chunked", "exactchunked.test", ODD, "", .body = "64K" },
    { "STS-030 65 537 octets", "over.test", ODD, .want = "too-large" },
    { "STS-030 65 537 octets, chunked", "overchunked.test", ODD, .want = "too-large" },
    { "STS-030 65 537 octets until the end", "overclosed.test", ODD, .want = "too-large" },
    { "STS-030 a Content-Length of 10^18", "hugelength.test", ODD, .want = "too-large" },
    { "STS-030 chunks without end", "endlesschunked.test", ODD, .want = "too-large" },
    { "STS-030 a body without end", "endlessbody.test", ODD, .want = "too-large" },
    { "an error page without end", "endlesserror.test", ODD, .want = "http-500" },
    { "TC-HTTP-18 headers without end", "endlesshead.test", ODD, .want = "too-large" },
    { "TC-HTTP-18 a header line without end", "endlessline.test", ODD, .want = "too-large" },
    { "TC-HTTP-18 a header line of 200 kB", "longline.test", ODD, .want = "too-large" },
    { "TC-HTTP-18 headers of 340 kB", "manyheaders.test", ODD, .want = "too-large" },
    { "TC-HTTP-18 100 Continue without end", "flood.test", ODD, .want = "too-large" },
    { "trailers without end", "trailers.test", ODD, .want = "too-large" },

    /* Not the whole policy, or not its plain octets. */
    { "a body shorter than Content-Length", "short.test", ODD, .want = "truncated" },
    { "chunks without the last one", "cutchunked.test", ODD, .want = "truncated" },
    { "a body without end mark and without close_notify", "abrupt.test", ODD, .want = "truncated" },
    { "no answer", "nothing.test", ODD, .want = "truncated" },
    { "half a head", "cuthead.test", ODD, .want = "truncated" },
    { "100 Continue and nothing more", "continued.test", ODD, .want = "truncated" },
    { "a reset", "reset.test", ODD, .want = "truncated" },
    { "gzip nobody asked for", "gzip.test", ODD, .want = "content-encoding" },
    { "gzip of 10 MB", "gzipbomb.test", ODD, .want = "content-encoding" },
    { "gzip as transfer coding", "transfergzip.test", ODD, .want = "transfer-encoding" },
    { "two lengths", "twolengths.test", ODD, .want = "content-length" },
    { "two media types", "twotypes.test", ODD, .want = "content-type" },
    { "STS-028 the media type behind the body", "trailertype.test", ODD, .want = "content-type" },
    { "STS-028 the media type in a 103", "hinttype.test", ODD, .want = "content-type" },
    { "101 nobody asked for", "switching.test", ODD, .want = "http-101" },
    { "HTTP/0.9", "http09.test", ODD, .want = "http-syntax" },
    { "garbage", "garbage.test", ODD, .want = "http-syntax" },
    { "a status that is no number", "oddstatus.test", ODD, .want = "http-syntax" },
    { "TC-HTTP-19 HTTP/2 only", "h2.test", ODD, .want = "http-syntax" },
    { "404 with a perfect body", "noterror.test", ODD, .want = "http-404" },
    { "404 with half a body", "notshort.test", ODD, .want = "http-404" },
    { "404 with a body too large", "notbig.test", ODD, .want = "http-404" },

    /* STS-029: time. */
    { "TC-HTTP-13 STS-029 no answer", "silent.test", ODD, "timeout", .timeout_ms = SHORT_MS },
    { "TC-HTTP-13 STS-029 a body octet by octet", "dripbody.test", ODD, "timeout",
      .timeout_ms = SHORT_MS },
    { "TC-HTTP-13 STS-029 a head octet by octet", "driphead.test", ODD, "timeout",
      .timeout_ms = SHORT_MS },
};

struct fixture {
    bool can_run;
    char dir[SERVERS_DIR_MAX];
    char ca_file[128];
    uint16_t ports[SERVERS];
    pid_t nginx, odd;
    struct ev_loop *loop;
};

static struct fixture fix; /* cmocka hands a group's state only to tests without a row */

/* NAME|SAN|ISSUE lines come from the table; ISSUE is the enum's number. */
static const char certs_script[] =
    "mkdir certs\n"
    "key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1; }\n"
    "key ca.key; key other.key; key inter.key; key leaf.key\n"
    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out weak.key\n"
    "for ca in ca other; do\n"
    "  openssl req -x509 -new -key $ca.key -subj /CN=$ca -days 30 -out $ca.pem \\\n"
    "    -addext basicConstraints=critical,CA:TRUE\n"
    "done\n"
    "printf 'basicConstraints=critical,CA:TRUE\\n' >inter.ext\n"
    "openssl req -new -key inter.key -subj /CN=inter | openssl x509 -req -CA ca.pem \\\n"
    "  -CAkey ca.key -days 30 -extfile inter.ext -out inter.pem\n"
    ": >index; echo 01 >serial\n"
    "printf '[ca]\\ndefault_ca=x\\n[x]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\n"
    "default_md=sha256\\npolicy=p\\nunique_subject=no\\n[p]\\ncommonName=supplied\\n' >ca.cnf\n"
    "while IFS='|' read -r name san issue; do\n"
    "  { echo basicConstraints=CA:FALSE; [ -z \"$san\" ] || echo subjectAltName=$san\n"
    "    [ $issue != 7 ] || echo extendedKeyUsage=clientAuth; } >ext\n"
    "  ca=ca key=leaf.key chain=/dev/null sign=-CA days=30\n"
    "  case $issue in 1) ca=inter chain=inter.pem ;; 2) ca=inter ;; 3) ca=other ;;\n"
    "    5) days=-1 ;; 8) key=weak.key ;; esac\n"
    "  openssl req -new -key $key -subj /CN=$name -out csr\n"
    "  if [ $issue = 4 ]; then\n"
    "    openssl x509 -req -in csr -signkey $key -days 30 -extfile ext -out leaf\n"
    "  elif [ $issue = 6 ]; then\n"
    "    openssl ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in csr -extfile ext \\\n"
    "      -startdate 20980101000000Z -enddate 20990101000000Z -notext -out leaf\n"
    "  else\n"
    "    openssl x509 -req -in csr -CA $ca.pem -CAkey $ca.key -days $days -extfile ext -out leaf\n"
    "  fi\n"
    "  cat leaf $chain $key >certs/$name.pem\n"
    "done <certs.list\n";

static void
make_certs(void)
{
    char path[128];
    FILE *list;

    snprintf(path, sizeof path, "%s/certs.list", fix.dir);
    list = fopen(path, "we");
    assert_non_null(list);
    for (size_t i = 0; i < ROWS(cases); i++) {
        const struct fetch_case *c = &cases[i];

        fprintf(list, "mta-sts.%s|%s%s%s|%d\n", c->domain, c->san ? c->san : "DNS:mta-sts.",
                c->san ? "" : c->domain, "", (int)c->issue);
    }
    fclose(list);
    servers_script(fix.dir, certs_script);
    snprintf(fix.ca_file, sizeof fix.ca_file, "%s/ca.pem", fix.dir);
}

static void
start_nginx(void)
{
    const char *const argv[] = { "nginx", "-p", ".", "-e", "error.log", "-c", "nginx.conf", NULL };
    unsigned port = fix.ports[NGINX];
    char path[128];
    FILE *conf;

    snprintf(path, sizeof path, "%s/nginx.conf", fix.dir);
    conf = fopen(path, "we");
    assert_non_null(conf);
    fprintf(conf,
            "daemon off; master_process off; pid nginx.pid;\n"
            "events { worker_connections 256; }\n"
            "http {\n"
            "client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n"
            "uwsgi_temp_path t4; scgi_temp_path t5; server_names_hash_bucket_size 128;\n"
            "log_format all '$ssl_server_name|$http_host|$request|$http_accept_encoding|"
            "$http_if_none_match$http_cookie$http_authorization|$server_addr';\n"
            "access_log requests.log all; ssl_ciphers DEFAULT@SECLEVEL=0;\n"
            "ssl_certificate %s/certs/$ssl_server_name.pem;\n"
            "ssl_certificate_key %s/certs/$ssl_server_name.pem;\n"
            "map $host $policy { default 'version: STSv1\nmode: none\nmax_age: 1\n'; }\n",
            fix.dir, fix.dir);
    for (size_t i = 0; i < ROWS(cases); i++)
        if (cases[i].server == NGINX)
            fprintf(conf,
                    "server { listen 127.0.0.1:%u ssl http2; listen [::1]:%u ssl;\n"
                    "server_name mta-sts.%s; default_type text/plain;\n"
                    "location = /.well-known/mta-sts.txt { %s }\n"
                    "location = /moved { return 200 $policy; } }\n",
                    port, port, cases[i].domain,
                    cases[i].nginx ? cases[i].nginx : "return 200 $policy;");
    fprintf(conf, "}\n");
    fclose(conf);
    fix.nginx = servers_start(fix.dir, argv);
    servers_wait_port(fix.ports[NGINX], fix.nginx);
}

static void
start_odd(void)
{
    char ports[3][8], certs[128];
    const char *const argv[] = {
        "python3", TESTS_DIR "/support/odd_https.py", ports[0], ports[1], ports[2], certs, NULL
    };

    snprintf(certs, sizeof certs, "%s/certs", fix.dir);
    snprintf(ports[0], sizeof ports[0], "%u", fix.ports[ODD]);
    snprintf(ports[1], sizeof ports[1], "%u", fix.ports[PLAIN]);
    snprintf(ports[2], sizeof ports[2], "%u", fix.ports[OLD]);
    fix.odd = servers_start(fix.dir, argv);
    for (int i = ODD; i <= OLD; i++)
        servers_wait_port(fix.ports[i], fix.odd);
}

static int
set_up(void **state)
{
    (void)state;
    if (!servers_have("nginx") || !servers_have("python3") || !servers_have("openssl"))
        return 0; /* the tests skip themselves */
    servers_dir_new(fix.dir);
    for (int i = 0; i < SERVERS; i++)
        fix.ports[i] = servers_free_port();
    make_certs();
    start_nginx();
    start_odd();
    /* None of it may have any effect (TC-HTTP-20). */
    setenv("https_proxy", "http://127.0.0.1:9", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
    setenv("SSL_CERT_FILE", "/dev/null", 1);
    signal(SIGPIPE, SIG_IGN);
    fix.loop = ev_loop_new(0);
    assert_non_null(fix.loop);
    fix.can_run = true;
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (!fix.can_run)
        return 0;
    ev_loop_destroy(fix.loop);
    servers_stop(fix.nginx);
    servers_stop(fix.odd);
    servers_dir_remove(fix.dir);
    return 0;
}

struct outcome {
    unsigned calls;
    enum result_type type;
    char reason[64];
    char *body; /* owned */
    size_t body_len;
    struct fetcher *free_in_done;
    struct fetcher *start_in_done;
    struct outcome *next;
    unsigned *order; /* counts results; this one's place goes to `place` */
    unsigned place;
};

static const struct ip_addr *
addr_of(const char *text)
{
    static struct ip_addr addrs[8];
    static unsigned at;
    struct ip_addr *addr = &addrs[at++ % ROWS(addrs)];

    assert_int_equal(ip_addr_parse(text, addr), RES_OK);
    return addr;
}

static void on_done(void *arg, const struct fetch_result *result);

static struct fetch *
start(struct fetcher *f, const char *domain, struct outcome *outcome)
{
    struct fetch *fetch;

    assert_int_equal(fetch_start(f, domain, addr_of("127.0.0.1"), 1, on_done, outcome, &fetch),
                     RES_OK);
    assert_non_null(fetch);
    assert_int_equal(outcome->calls, 0); /* never before fetch_start() has returned */
    return fetch;
}

static void
on_done(void *arg, const struct fetch_result *result)
{
    struct outcome *outcome = arg;

    outcome->calls++;
    outcome->type = result->type;
    memcpy(outcome->reason, result->reason, sizeof outcome->reason);
    free(outcome->body);
    outcome->body = malloc(result->body.len + 1);
    assert_non_null(outcome->body);
    if (result->body.len)
        memcpy(outcome->body, result->body.ptr, result->body.len);
    outcome->body_len = result->body.len;
    if (outcome->order)
        outcome->place = ++*outcome->order;
    if (outcome->free_in_done)
        fetcher_free(outcome->free_in_done);
    if (outcome->start_in_done)
        start(outcome->start_in_done, "plain.test", outcome->next);
    else
        ev_break(fix.loop, EVBREAK_ALL);
}

static struct fetcher *
new_fetcher(enum server server, unsigned timeout_ms, unsigned max_parallel)
{
    struct fetch_config config = { .ca_file = fix.ca_file,
                                   .port = fix.ports[server],
                                   .timeout_ms = timeout_ms,
                                   .max_parallel = max_parallel };
    struct fetcher *f;
    const char *error;

    assert_int_equal(fetcher_new(fix.loop, &config, &f, &error), RES_OK);
    assert_string_equal(error, "");
    return f;
}

static void
skip_without_servers(void)
{
    if (!fix.can_run)
        skip();
}

static void
assert_body(const struct outcome *outcome, const char *want)
{
    if (strcmp(want, "64K") == 0) {
        assert_int_equal(outcome->body_len, STS_POLICY_MAX_BYTES);
        assert_int_equal(outcome->body[STS_POLICY_MAX_BYTES - 1], 'x');
    } else {
        assert_true(span_equal(span_make(outcome->body, outcome->body_len), span_of(want)));
    }
}

static void
test_fetch(void **state)
{
    const struct fetch_case *c = *state;
    struct outcome outcome = { 0 };
    struct fetcher *f;

    skip_without_servers();
    f = new_fetcher(c->server, c->timeout_ms ? c->timeout_ms : LONG_MS, 4);
    start(f, c->domain, &outcome);
    loop_run(fix.loop, c->timeout_ms ? 2. * c->timeout_ms / 1e3 : GIVE_UP_S);
    fetcher_free(f);
    assert_int_equal(outcome.calls, 1);
    assert_string_equal(outcome.reason, c->want);
    if (c->want[0] == '\0')
        assert_int_equal(outcome.type, RESULT_SUCCESS);
    else if (strncmp(c->want, "X509", 4) == 0)
        assert_int_equal(outcome.type, RESULT_STS_WEBPKI_INVALID);
    else
        assert_int_equal(outcome.type, RESULT_STS_POLICY_FETCH_ERROR);
    assert_body(&outcome, c->want[0] ? "" : c->body ? c->body : POLICY);
    free(outcome.body);
}

static void
read_log(char *text, size_t size)
{
    char path[128];
    size_t len;
    FILE *file;

    snprintf(path, sizeof path, "%s/requests.log", fix.dir);
    file = fopen(path, "re");
    assert_non_null(file);
    len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
}

static unsigned
count_in_log(const char *what)
{
    static char text[1 << 18];
    unsigned count = 0;

    read_log(text, sizeof text);
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        count++;
    return count;
}

/* STS-020, STS-021, STS-027, TC-HTTP-11: what nginx saw, to the octet; no state from before. */
static void
test_request(void **state)
{
    static const char line[] = "mta-sts.cookie.test|mta-sts.cookie.test|"
                               "GET /.well-known/mta-sts.txt HTTP/1.1|-|---|127.0.0.1\n";
    struct outcome outcome = { 0 };
    struct fetcher *f;
    unsigned before;

    (void)state;
    skip_without_servers();
    f = new_fetcher(NGINX, LONG_MS, 4);
    before = count_in_log(line);
    for (unsigned i = 1; i <= 2; i++) {
        start(f, "cookie.test", &outcome);
        loop_run(fix.loop, GIVE_UP_S);
        assert_int_equal(outcome.calls, 1);
        outcome.calls = 0;
    }
    fetcher_free(f);
    free(outcome.body);
    /* nginx answers first and writes its log afterwards. */
    for (unsigned i = 0; i < LOG_TRIES && count_in_log(line) < before + 2; i++)
        poll(NULL, 0, 20);
    assert_int_equal(count_in_log(line), before + 2);
    assert_int_equal(count_in_log("mta-sts.cookie.test|mta-sts"), before + 2);
}

/* STS-026: nothing but the well-known path was asked for in all the tests before. */
static void
test_no_redirect_followed(void **state)
{
    (void)state;
    skip_without_servers();
    assert_int_not_equal(count_in_log("mta-sts.s301.test"), 0);
    assert_int_equal(count_in_log("/moved"), 0);
}

static struct addrs_case {
    const char *name;
    const char *addrs[3];
    const char *want;
} addr_cases[] = {
    { "TC-HTTP-14 only AAAA", { "::1" }, "" },
    { "TC-HTTP-14 the first address is dead", { "127.0.0.77", "127.0.0.1" }, "" },
    { "TC-HTTP-14 two of three are dead", { "127.0.0.77", "127.0.0.78", "127.0.0.1" }, "" },
    { "TC-HTTP-14 AAAA is dead", { "::2", "127.0.0.1" }, "" },
    { "TC-HTTP-14 A is dead", { "127.0.0.77", "::1" }, "" },
    { "TC-HTTP-14 all are dead", { "127.0.0.77", "127.0.0.78" }, "connect" },
};

static void
test_addrs(void **state)
{
    const struct addrs_case *c = *state;
    struct outcome outcome = { 0 };
    struct ip_addr addrs[3];
    struct fetch *fetch;
    struct fetcher *f;
    size_t count = 0;

    skip_without_servers();
    f = new_fetcher(NGINX, LONG_MS, 4);
    for (; count < ROWS(addrs) && c->addrs[count]; count++)
        assert_int_equal(ip_addr_parse(c->addrs[count], &addrs[count]), RES_OK);
    assert_int_equal(fetch_start(f, "plain.test", addrs, count, on_done, &outcome, &fetch), RES_OK);
    loop_run(fix.loop, GIVE_UP_S);
    fetcher_free(f);
    assert_int_equal(outcome.calls, 1);
    assert_string_equal(outcome.reason, c->want);
    free(outcome.body);
}

/* Connections of others fill a listener's queue; the next SYN is dropped. */
struct black_hole {
    int fds[16];
    size_t count;
};

static void
black_hole_open(struct black_hole *hole, const char *address, uint16_t port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };

    assert_int_equal(inet_pton(AF_INET, address, &addr.sin_addr), 1);
    for (hole->count = 0; hole->count < ROWS(hole->fds); hole->count++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        hole->fds[hole->count] = fd;
        if (hole->count == 0) {
            assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
            assert_int_equal(listen(fd, 0), 0);
        } else {
            (void)!connect(fd, (const struct sockaddr *)&addr, sizeof addr);
        }
    }
}

static void
black_hole_close(struct black_hole *hole)
{
    while (hole->count > 0)
        close(hole->fds[--hole->count]);
}

/* TC-HTTP-13, TC-HTTP-14: an address that does not even refuse leaves time for the next one. */
static void
test_black_hole(void **state)
{
    struct outcome outcome = { 0 };
    struct black_hole hole;
    struct ip_addr addrs[2];
    struct fetch *fetch;
    struct fetcher *f;

    (void)state;
    skip_without_servers();
    black_hole_open(&hole, "127.0.0.79", fix.ports[NGINX]);
    addrs[0] = *addr_of("127.0.0.79");
    addrs[1] = *addr_of("127.0.0.1");
    f = new_fetcher(NGINX, 4000, 4);
    assert_int_equal(fetch_start(f, "plain.test", addrs, 2, on_done, &outcome, &fetch), RES_OK);
    loop_run(fix.loop, GIVE_UP_S);
    fetcher_free(f);
    assert_string_equal(outcome.reason, "");

    outcome.calls = 0;
    f = new_fetcher(NGINX, SHORT_MS, 4);
    assert_int_equal(fetch_start(f, "plain.test", addrs, 1, on_done, &outcome, &fetch), RES_OK);
    loop_run(fix.loop, 2. * SHORT_MS / 1e3);
    fetcher_free(f);
    assert_int_equal(outcome.calls, 1);
    assert_string_equal(outcome.reason, "timeout");
    black_hole_close(&hole);
    free(outcome.body);
}

/* STS-032: one place, four in line: all get their turn, in their order. */
static void
test_line(void **state)
{
    static const char *const domains[] = { "silent.test", "good.test", "short.test",
                                           "chunked.test" };
    struct outcome outcomes[ROWS(domains)] = { 0 };
    struct fetcher *f;
    unsigned order = 0;

    (void)state;
    skip_without_servers();
    f = new_fetcher(ODD, MIDDLE_MS, 1);
    for (size_t i = 0; i < ROWS(domains); i++) {
        outcomes[i].order = &order;
        start(f, domains[i], &outcomes[i]);
    }
    for (size_t i = 0; i < ROWS(domains); i++)
        loop_run(fix.loop, GIVE_UP_S);
    fetcher_free(f);
    for (size_t i = 0; i < ROWS(domains); i++) {
        assert_int_equal(outcomes[i].place, i + 1);
        free(outcomes[i].body);
    }
    assert_string_equal(outcomes[0].reason, "timeout");
    assert_string_equal(outcomes[1].reason, "");
    assert_string_equal(outcomes[2].reason, "truncated");
    assert_string_equal(outcomes[3].reason, "");
}

static unsigned
count_entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Many at once: all succeed, no thread is made, no descriptor stays open. */
static void
test_many(void **state)
{
    struct outcome outcomes[50] = { 0 };
    unsigned fds = count_entries("/proc/self/fd");
    struct fetcher *f;

    (void)state;
    skip_without_servers();
    f = new_fetcher(NGINX, LONG_MS, 16);
    for (size_t i = 0; i < ROWS(outcomes); i++)
        start(f, i % 2 ? "plain.test" : "wild.test", &outcomes[i]);
    for (size_t i = 0; i < ROWS(outcomes); i++) {
        loop_run(fix.loop, GIVE_UP_S);
        assert_int_equal(count_entries("/proc/self/task"), 3); /* one task, "." and ".." */
    }
    fetcher_free(f);
    for (size_t i = 0; i < ROWS(outcomes); i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_string_equal(outcomes[i].reason, "");
        free(outcomes[i].body);
    }
    assert_int_equal(count_entries("/proc/self/fd"), fds);
}

/* Cancelled in every state: running, in line, done but not delivered. */
static void
test_cancel(void **state)
{
    struct outcome cancelled = { 0 }, other = { 0 };
    struct fetch *running, *waiting;
    struct fetcher *f;

    (void)state;
    skip_without_servers();
    f = new_fetcher(ODD, LONG_MS, 1);
    running = start(f, "silent.test", &cancelled);
    waiting = start(f, "good.test", &cancelled);
    start(f, "good.test", &other);
    loop_run(fix.loop, 0.05);
    fetch_cancel(waiting);
    fetch_cancel(running);
    loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(other.calls, 1);
    assert_string_equal(other.reason, "");
    assert_int_equal(cancelled.calls, 0);
    fetcher_free(f);
    free(other.body);
}

static void
test_free_with_open_fetches(void **state)
{
    struct outcome open = { 0 };
    struct fetcher *f;

    (void)state;
    skip_without_servers();
    f = new_fetcher(ODD, LONG_MS, 2);
    for (unsigned i = 0; i < 4; i++)
        start(f, i % 2 ? "silent.test" : "dripbody.test", &open);
    loop_run(fix.loop, 0.1);
    fetcher_free(f);
    loop_run(fix.loop, 0.1);
    assert_int_equal(open.calls, 0);
}

static void
test_free_in_done(void **state)
{
    struct outcome first = { 0 }, other = { 0 };

    (void)state;
    skip_without_servers();
    first.free_in_done = new_fetcher(ODD, LONG_MS, 2);
    start(first.free_in_done, "good.test", &first);
    start(first.free_in_done, "silent.test", &other);
    start(first.free_in_done, "good.test", &other);
    loop_run(fix.loop, GIVE_UP_S);
    loop_run(fix.loop, 0.05);
    assert_int_equal(first.calls, 1);
    assert_int_equal(other.calls, 0);
    free(first.body);
}

static void
test_start_in_done(void **state)
{
    struct outcome second = { 0 }, first = { .next = &second };

    (void)state;
    skip_without_servers();
    first.start_in_done = new_fetcher(NGINX, LONG_MS, 1);
    start(first.start_in_done, "s404.test", &first);
    loop_run(fix.loop, GIVE_UP_S);
    assert_string_equal(first.reason, "http-404");
    assert_int_equal(second.calls, 1);
    assert_string_equal(second.reason, "");
    fetcher_free(first.start_in_done);
    free(first.body);
    free(second.body);
}

static void
test_too_many(void **state)
{
    struct outcome outcome = { 0 };
    struct fetch *fetch;
    struct fetcher *f;

    (void)state;
    skip_without_servers();
    f = new_fetcher(ODD, LONG_MS, 1);
    for (unsigned i = 0; i < FETCHES_MAX; i++)
        start(f, "silent.test", &outcome);
    assert_int_equal(
        fetch_start(f, "silent.test", addr_of("127.0.0.1"), 1, on_done, &outcome, &fetch),
        RES_LIMIT);
    assert_null(fetch);
    fetcher_free(f);
    assert_int_equal(outcome.calls, 0);
}

/* An intermediate in the bundle is no root (STS-022). */
static void
test_partial_chain(void **state)
{
    struct outcome outcome = { 0 };
    struct fetch_config config = { .port = fix.ports[NGINX],
                                   .timeout_ms = LONG_MS,
                                   .max_parallel = 1 };
    struct fetcher *f;
    const char *error;
    char path[128];

    (void)state;
    skip_without_servers();
    snprintf(path, sizeof path, "%s/inter.pem", fix.dir);
    config.ca_file = path;
    assert_int_equal(fetcher_new(fix.loop, &config, &f, &error), RES_OK);
    start(f, "inter.test", &outcome);
    loop_run(fix.loop, GIVE_UP_S);
    fetcher_free(f);
    assert_int_equal(outcome.type, RESULT_STS_WEBPKI_INVALID);
    assert_string_equal(outcome.reason, "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT");
    free(outcome.body);
}

static void
test_ca_file(void **state)
{
    struct fetch_config config = { .port = 443, .timeout_ms = LONG_MS, .max_parallel = 1 };
    static const char *const files[] = { "/nonexistent", "/dev/null", "/etc/passwd", "" };
    struct fetcher *f;
    const char *error;

    (void)state;
    skip_without_servers();
    for (size_t i = 0; i < ROWS(files); i++) {
        config.ca_file = files[i];
        assert_int_equal(fetcher_new(fix.loop, &config, &f, &error), RES_SYNTAX);
        assert_null(f);
        assert_non_null(strstr(error, "CA file"));
    }
    fetcher_free(NULL);
}

/* As on_done(), without an allocation of its own. */
static void
on_done_plain(void *arg, const struct fetch_result *result)
{
    struct outcome *outcome = arg;

    outcome->calls++;
    outcome->type = result->type;
    ev_break(fix.loop, EVBREAK_ALL);
}

/* One allocation of ours after the other fails: an error or a result, never both nor a crash. */
static void
test_without_memory(void **state)
{
    struct fetch_config config = {
        .ca_file = fix.ca_file, .port = fix.ports[NGINX], .timeout_ms = MIDDLE_MS, .max_parallel = 1
    };
    bool happened = true;

    (void)state;
    skip_without_servers();
    for (unsigned n = 0; happened; n++) {
        struct outcome outcome = { 0 };
        struct fetch *fetch;
        struct fetcher *f;
        const char *error;
        enum result res;

        alloc_fail_after(n);
        res = fetcher_new(fix.loop, &config, &f, &error);
        assert_int_equal(f != NULL, res == RES_OK);
        if (f && fetch_start(f, "plain.test", addr_of("127.0.0.1"), 1, on_done_plain, &outcome,
                             &fetch) == RES_OK) {
            loop_run(fix.loop, GIVE_UP_S);
            assert_int_equal(outcome.calls, 1);
        }
        happened = alloc_fail_happened();
        if (!happened)
            assert_int_equal(outcome.type, RESULT_SUCCESS);
        fetcher_free(f);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_no_redirect_followed),
        cmocka_unit_test(test_black_hole),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_with_open_fetches),
        cmocka_unit_test(test_free_in_done),
        cmocka_unit_test(test_start_in_done),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_partial_chain),
        cmocka_unit_test(test_ca_file),
        cmocka_unit_test(test_without_memory),
    };
    static struct CMUnitTest tests[ROWS(cases) + ROWS(addr_cases) + ROWS(others)];

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_fetch,
                                        .initial_state = &cases[i] };
    for (size_t i = 0; i < ROWS(addr_cases); i++)
        tests[ROWS(cases) + i] = (struct CMUnitTest){ .name = addr_cases[i].name,
                                                      .test_func = test_addrs,
                                                      .initial_state = &addr_cases[i] };
    memcpy(tests + ROWS(cases) + ROWS(addr_cases), others, sizeof others);
    return cmocka_run_group_tests_name("fetch", tests, set_up, tear_down);
}
