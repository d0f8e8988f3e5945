#!/bin/bash
# package.sh DEB: install, start, upgrade, remove and purge the package. All of it in namespaces and in an
# overlay over this system, which is thrown away: nothing here is changed. Needs root and overlayfs.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DEB" >&2 && exit 2; }
deb=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
inside=${STSGATE_PACKAGE_TEST:-}

ok() { echo "ok   $*"; }
die() {
    echo "FAIL $*"
    [ ! -s /tmp/gateway.log ] || tail -n 20 /tmp/gateway.log
    exit 1
}

# --- outside: an overlay, then this script again, in it --------------------------------------------

if [ -z "$inside" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # The lab with the programs of the package: mail flows and is enforced, by the rules that they print.
    dpkg -x "$deb" "$folder/unpacked"
    python3 "$here/tests/lab/run.py" --build "$folder/unpacked/usr/bin" \
        --filter by-the-rules-that,children-of-root
    export STSGATE_PACKAGE_TEST=$folder
    unshare --mount --pid --fork --net --uts --ipc --kill-child bash "$0" "$deb"
    exit
fi

if [ "$inside" != chroot ]; then
    folder=$inside
    mkdir "$folder/space"
    mount -t tmpfs none "$folder/space"
    mkdir "$folder/space/upper" "$folder/space/work" "$folder/space/root"
    root=$folder/space/root
    mount -t overlay none "$root" \
        -o "lowerdir=/,upperdir=$folder/space/upper,workdir=$folder/space/work"
    mount -t proc proc "$root/proc"
    mount -t tmpfs none "$root/run"
    mount -t tmpfs none "$root/tmp"
    mount -t tmpfs none "$root/dev"
    for device in null zero full random urandom; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    cp "$deb" "$root/tmp/one.deb"
    cp "$0" "$root/tmp/package.sh"
    # The second version: the same, with a later number.
    dpkg-deb -R "$deb" "$folder/space/two"
    sed -i 's/^Version: .*/&+test2/' "$folder/space/two/DEBIAN/control"
    dpkg-deb --root-owner-group -b "$folder/space/two" "$root/tmp/two.deb" >/dev/null
    ip link set lo up
    STSGATE_PACKAGE_TEST=chroot chroot "$root" bash /tmp/package.sh /tmp/one.deb
    left=$(find "$folder/space/upper" -iname '*stsgate*' ! -type c)
    [ -z "$left" ] || die "left behind: $left"
    ok "purged without a trace"
    exit
fi

# --- inside ----------------------------------------------------------------------------------------

wait_for() {
    local text=$1 i
    for ((i = 0; i < 300; i++)); do
        ! grep -q "$text" /tmp/gateway.log || return 0
        sleep 0.1
    done
    die "waited in vain for $text"
}

quiet() { "$@" >/tmp/out 2>&1 || { cat /tmp/out && die "$*"; }; }

quiet dpkg -i /tmp/one.deb
id stsgate >/dev/null || die "there is no user stsgate"
[ "$(stat -c %U:%a /var/lib/stsgate /var/log/stsgate | sort -u)" = stsgate:750 ] || die "the folders"
ok "installed: user and folders"
said=$(stsgate config check 2>&1) || die "the configuration that is installed: $said"
[[ $said == *"rollout is survey"* ]] || die "it does not survey"
ok "a fresh installation is good, and surveys"
[ -s /usr/share/doc/stsgate/operator-guide.md ] || die "no page tells how to go on"
for page in man8/stsgate.8 man5/stsgate.conf.5 man5/stsgate-records.5; do
    dpkg -L stsgate | grep -q "^/usr/share/man/$page.gz$" || die "no page $page"
done
ok "manual pages"
systemd-analyze verify --man=no /lib/systemd/system/stsgate*.service \
    /lib/systemd/system/stsgate.socket 2>&1 | grep -i stsgate | grep -v 'nftables.service' && die "the units"
logrotate -d /etc/logrotate.d/stsgate >/tmp/out 2>&1 || die "logrotate: $(cat /tmp/out)"
ok "units and logrotate are understood"

# As the unit starts it.
mkdir -p /run/stsgate && chown stsgate: /run/stsgate
setpriv --reuid stsgate --regid stsgate --init-groups --inh-caps -all,+net_raw \
    --ambient-caps -all,+net_raw --bounding-set -all,+net_raw --no-new-privs \
    stsgate run >/tmp/gateway.log 2>&1 &
gateway=$!
wait_for event=ready
# There is no DNS in here, which it says.
! grep 'level=error' /tmp/gateway.log | grep -qv event=dane-blind || die "errors at the start"
[ "$(ps -o user= -C stsgate,stsgate-worker,stsgate-policy | sort -u)" = stsgate ] || die "not everybody is stsgate"
ok "started as the unit starts it, nobody is root"

quiet dpkg -i /tmp/two.deb
before=$(pgrep -xo stsgate-worker)
setpriv --reuid stsgate --regid stsgate --init-groups stsgate reload || die "the reload after the upgrade"
wait_for event=generation-gone
kill -0 "$before" 2>/dev/null && die "the old worker is still there"
readlink /proc/"$(pgrep -xo stsgate-worker)"/exe | grep -q deleted && die "the new worker is the old program"
ok "upgraded by a reload: new workers run the new program"

mv /var/log/stsgate/records.msgpack /var/log/stsgate/records.msgpack.1
setpriv --reuid stsgate --regid stsgate --init-groups stsgate reload || die "the reload after the rotation"
[ "$(stat -c %U /var/log/stsgate/records.msgpack)" = stsgate ] || die "no new records file"
stsgate log /var/log/stsgate/records.msgpack.1 | grep -q '"event":"process"' || die "the old records"
ok "records rotate"

kill "$gateway"
wait "$gateway" || die "it ended with status $?"
quiet dpkg -r stsgate
[ -e /etc/stsgate/stsgate.conf ] || die "removal took the configuration"
quiet dpkg -P stsgate
for trace in /etc/stsgate /var/lib/stsgate /var/log/stsgate /usr/libexec/stsgate /run/stsgate; do
    [ ! -e "$trace" ] || die "$trace is left behind"
done
! id stsgate 2>/dev/null || die "the user is left behind"
ok "removed, then purged"
