#!/bin/sh
# The systemd units: their exposure by `systemd-analyze security` is at most 2.0, and they hold no key
# that systemd does not know. Usage: units.sh FOLDER-WITH-THE-UNITS. Exit 77: systemd-analyze is missing.
set -eu
units=$1
worst=20 # tenths

command -v systemd-analyze >/dev/null || {
    echo "skipped: there is no systemd-analyze"
    exit 77
}
score=$(systemd-analyze security --offline=yes --no-pager "$units/stsgate.service" 2>/dev/null |
    sed -n 's/.*exposure level for stsgate.service: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
echo "exposure in tenths: $score"
[ -n "$score" ] && [ "$score" -le "$worst" ]

# What is installed where is not this test's to know.
complaints=$(systemd-analyze verify --man=no "$units"/*.service "$units"/*.socket 2>&1 |
    grep -E 'Unknown|Invalid|Failed to parse|Missing' || true)
echo "$complaints"
[ -z "$complaints" ]
