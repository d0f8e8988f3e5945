#!/bin/sh
# Who may include whom (docs/architecture.md). Prints each breach as file:line and fails.
cd "$1" || exit 2
bad=0

# wall FILES-PATTERN FORBIDDEN-INCLUDE-REGEX WHY
wall() {
    # shellcheck disable=SC2086 # several pathspecs
    found=$(git ls-files --cached --others --exclude-standard -- $1 2>/dev/null |
        grep -E '\.(c|h|cc)$' | grep -v '_fuzz\.c$' | xargs -r grep -nE "^#include [<\"]$2" /dev/null)
    if [ -n "$found" ]; then
        printf '%s\n  -> %s\n' "$found" "$3"
        bad=1
    fi
}

wall base '(tls|policy|proxy|tests)/' 'base/ includes nothing of ours but base/'
wall tls '(policy|proxy|tests)/' 'tls/ includes base/ only'
wall policy '(tls|proxy|tests)/' 'policy/ includes base/ only'
wall proxy 'tests/' 'the program never includes its tests'
wall 'base policy :!policy/webpki.c :!policy/digest.c proxy' 'openssl/' \
    'BoringSSL is called in tls/ only, OpenSSL 3 in policy/webpki.c and digest.c only'
wall 'bench :!bench/stream.c :!bench/bench_engine.c :!bench/bench_handshake.c' 'openssl/' \
    'OpenSSL 3 is called in bench/stream.c, BoringSSL in bench_engine.c and bench_handshake.c only'
wall 'base tls' 'ev\.h' 'libev is called in proxy/ and by policy/ main and its adapters'
wall 'base tls proxy' '(curl/|unbound)' 'libcurl and libunbound are called in policy/ only'

# msgpack-c is called in codec modules only.
found=$(git ls-files --cached --others --exclude-standard -- base tls policy proxy 2>/dev/null |
    grep -E '\.(c|h)$' | grep -vE '(_msg|/pack)\.[ch]$' |
    xargs -r grep -nE '^#include <msgpack' /dev/null)
if [ -n "$found" ]; then
    printf '%s\n  -> msgpack-c is called in *_msg.c and base/pack.c only\n' "$found"
    bad=1
fi

# Text is written with its bound.
found=$(git ls-files --cached --others --exclude-standard -- '*.c' '*.h' 2>/dev/null |
    xargs -r grep -nE '(^|[^a-z_])(strcpy|strcat|strncat|sprintf|vsprintf|gets)\(' /dev/null)
if [ -n "$found" ]; then
    printf '%s\n  -> use snprintf() or the helpers of base/\n' "$found"
    bad=1
fi
exit $bad
