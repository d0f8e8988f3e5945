#!/bin/bash
# package_systemd.sh: run by package.sh under systemd as process 1, in an overlay and namespaces: install, upgrade
# under load, restart with the sockets at systemd, a supervisor that is killed, remove, purge. /mnt: one.deb,
# two.deb, package_load.py.
set -euo pipefail

ok() { echo "ok   $*"; }
die() {
    echo "FAIL $*"
    systemctl status --no-pager stsgate.service stsgate.socket || true
    journalctl --no-pager -n 40 -u stsgate || true
    exit 1
}
quiet() { "$@" >/tmp/out 2>&1 || { cat /tmp/out && die "$*"; }; }
wait_until() { # SECONDS COMMAND...
    local i seconds=$1
    shift
    for ((i = 0; i < seconds * 10; i++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    die "waited in vain for: $*"
}

# --- clients on one side, an MX on the other -------------------------------------------------------

make_nets() {
    local side
    for side in client:c0:192.0.2 mx:m0:198.51.100; do
        IFS=: read -r name device net <<<"$side"
        ip netns add "$name"
        ip link add "$device" type veth peer name eth0 netns "$name"
        ip address add "$net.1/24" dev "$device"
        ip link set "$device" up
        ip -n "$name" address add "$net.2/24" dev eth0
        ip -n "$name" link set eth0 up
        ip -n "$name" link set lo up
        ip -n "$name" route add default via "$net.1"
    done
    sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.c0.rp_filter=0 \
        net.ipv4.conf.m0.rp_filter=0
}

start_load() {
    rm -f /tmp/ended
    ip netns exec client python3 /mnt/package_load.py clients 198.51.100.2 /tmp/ended /tmp/accepted \
        >/tmp/load.out 2>&1 &
    load=$!
    sent=$(wc -l <"$queue")
    wait_until 20 more_mail 20
}
more_mail() { [ "$(wc -l <"$queue")" -ge $((sent + $1)) ]; }
ask() { ip netns exec client python3 /mnt/package_load.py ask 198.51.100.2 "$1"; }
is_enforced() {
    [ "$(ask b@domain.test)" = 250 ] || die "$1: mail does not flow: $(ask b@domain.test)"
    [ "$(ask b@tls.test)" = 451 ] || die "$1: not enforced: $(ask b@tls.test)"
}
end_load() { # WHAT
    sent=$(wc -l <"$queue")
    wait_until 60 more_mail 20 # it still flows
    touch /tmp/ended
    wait "$load" || die "$1: $(cat /tmp/load.out)"
    [ -z "$(sort /tmp/accepted | comm -23 - <(sort "$queue"))" ] || die "$1: a mail that was accepted is lost"
    ok "$1: $(cat /tmp/load.out)"
}

queue=/tmp/queue
: >"$queue"
make_nets
ip netns exec mx python3 /mnt/package_load.py mx 198.51.100.2 "$queue" &
mx=$!

# --- install, as on any machine --------------------------------------------------------------------

quiet dpkg -i /mnt/one.deb
wait_until 20 systemctl --quiet is-active stsgate.service
[ -e /mnt/upper/usr/bin/stsgate ] || die "what it leaves behind would not be seen"
ok "installed; systemd has started it"
sed -i 's/^rollout = .*/rollout = enforce\ninside_interfaces = {c0}\ndane = false\nresolver_stub = "127.0.0.1"/;
    s/^log_level = .*/log_level = info/' /etc/stsgate/stsgate.conf
cat >>/etc/stsgate/stsgate.conf <<'CONF'
override "not in clear" {
    domain = {tls.test}
    action = require
    reason = "test"
    until = 2199-12-31
}
CONF
quiet stsgate config check
quiet systemctl reload stsgate.service
stsgate rules | nft -f -
stsgate rules --routes | sh
quiet stsgate rules --check
main() { systemctl show --value -p MainPID stsgate.service; }
worker() { pgrep -xn stsgate-worker; }
[ "$(ps -o user= -p "$(main)")" = stsgate ] || die "the supervisor is not stsgate"
# The unit's sandbox and our own are on top of each other.
grep -q '^Seccomp:.*2' "/proc/$(worker)/status" || die "no filter of system calls"
is_enforced "installed"
ok "rules are in force, mail flows and is enforced"

# --- G9: an upgrade under load ---------------------------------------------------------------------

supervisor=$(main)
start_load
quiet dpkg -i /mnt/two.deb
version=$(dpkg-query -f '${Version}' -W stsgate)
[ "$(stsgate --version)" = "stsgate ${version%+*}" ] || die "$(stsgate --version) is installed as $version"
readlink "/proc/$(worker)/exe" | grep -q deleted && die "the new worker is the old program"
[ "$(main)" = "$supervisor" ] || die "the supervisor was restarted"
end_load "upgraded under load"
grep -q ' 0 put off' /tmp/load.out || die "clients were put off by the upgrade"
stsgate log /var/log/stsgate/records.msgpack | grep '"event":"process"' | grep -q "${version%+*}" ||
    die "no record of a worker of the new version"
is_enforced "upgraded"

# --- restarts --------------------------------------------------------------------------------------

quiet systemctl stop stsgate.service
quiet systemctl start stsgate.socket
quiet systemctl start stsgate.service
supervisor=$(main)
start_load
quiet systemctl restart stsgate.service
[ "$(main)" != "$supervisor" ] || die "it is the same supervisor"
readlink "/proc/$(main)/exe" | grep -q deleted && die "the supervisor is the old program"
end_load "restarted under load, the sockets at systemd"

# Who was in the middle of a mail is cut, as in any crash; nobody is refused, and nothing is lost.
supervisor=$(main)
start_load
kill -KILL "$supervisor"
another() { [ "$(main)" != "$supervisor" ] && [ "$(main)" != 0 ] && stsgate status; }
wait_until 30 another
sent=$(wc -l <"$queue")
wait_until 60 more_mail 20
touch /tmp/ended
wait "$load" || true
grep -q ' 0 refused' /tmp/load.out || die "killed: $(cat /tmp/load.out)"
[ -z "$(sort /tmp/accepted | comm -23 - <(sort "$queue"))" ] || die "killed: a mail that was accepted is lost"
ok "supervisor killed under load, the sockets at systemd: $(cat /tmp/load.out)"

is_enforced "started again"

# --- without it: closed by the rules, open without them (TC-GW-13) ----------------------------------

quiet systemctl stop stsgate.socket stsgate.service
[ "$(ask b@domain.test)" = refused ] || die "stopped, and not closed: $(ask b@domain.test)"
stsgate rules --remove | sh
[ "$(ask b@tls.test)" = 250 ] || die "without rules, and not open: $(ask b@tls.test)"
kill "$mx"
ok "stopped: closed with the rules, open without them"

# --- remove, purge ---------------------------------------------------------------------------------

quiet systemctl start stsgate.service
quiet dpkg -r stsgate
! systemctl --quiet is-active stsgate.service || die "it runs after the removal"
! pgrep stsgate || die "processes are left"
quiet dpkg -P stsgate
for trace in /etc/stsgate /var/lib/stsgate /var/log/stsgate /usr/libexec/stsgate /run/stsgate \
    /etc/systemd/system/multi-user.target.wants/stsgate.service; do
    [ ! -e "$trace" ] || die "$trace is left behind"
done
left=$(find /mnt/upper -iname '*stsgate*' ! -type c)
[ -z "$left" ] || die "left behind: $left"
ok "removed, then purged without a trace, under systemd"
touch /mnt/verdict
