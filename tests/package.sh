#!/bin/bash
# package.sh DEB: install, start, upgrade, remove and purge the package; first without systemd, then with systemd as
# process 1 and mail that flows meanwhile (package_systemd.sh). All of it in namespaces and in an overlay over this
# system, which is thrown away: nothing here is changed. Needs root and overlayfs.
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

# A group of ours in each hierarchy of control groups, for systemd to be the root of; or back out of it, and gone.
control_groups() { # enter|leave
    local line controllers path top name=stsgate-package-$$ lines
    mapfile -t lines </proc/self/cgroup # all at once, before it changes
    for line in "${lines[@]}"; do
        IFS=: read -r _ controllers path <<<"$line"
        top=/sys/fs/cgroup/${controllers#name=}
        [ -n "$controllers" ] || ! [ -d "$top/unified" ] || top=$top/unified
        path=${path%/} && path=$top${path%"/$name"}
        [ -d "$path" ] || continue # not mounted
        if [ "$1" = leave ]; then
            echo $$ >"$path/cgroup.procs"
            find "$path/$name" -depth -type d -exec rmdir {} \;
            continue
        fi
        mkdir "$path/$name"
        if [ "$controllers" = cpuset ]; then
            cat "$path/cpuset.cpus" >"$path/$name/cpuset.cpus"
            cat "$path/cpuset.mems" >"$path/$name/cpuset.mems"
        fi
        echo $$ >"$path/$name/cgroup.procs"
    done
}

if [ -z "$inside" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # The lab with the programs of the package: mail flows and is enforced, by the rules that they print.
    dpkg -x "$deb" "$folder/unpacked"
    python3 "$here/tests/lab/run.py" --build "$folder/unpacked/usr/bin" \
        --filter by-the-rules-that,children-of-root
    spaces=(unshare --mount --pid --fork --net --uts --ipc --kill-child)
    mkdir "$folder/plain" "$folder/systemd" "$folder/shared"
    STSGATE_PACKAGE_TEST=plain:$folder/plain "${spaces[@]}" bash "$0" "$deb"
    if [ ! -x /lib/systemd/systemd ] || [ ! -d /sys/fs/cgroup ]; then
        echo "skip upgrade under systemd (it is not here)"
        exit
    fi
    trap 'control_groups leave; rm -rf "$folder"' EXIT
    control_groups enter
    STSGATE_PACKAGE_TEST=systemd:$folder/systemd timeout -s KILL 400 "${spaces[@]}" --cgroup \
        bash "$0" "$deb" >"$folder/console" 2>&1 || true # systemd powers off, which ends it by a signal
    cat "$folder/shared/out" || true # it may not have come that far
    [ -e "$folder/shared/verdict" ] || { cat "$folder/console" && die "under systemd"; }
    exit
fi

lay_overlay() {
    mkdir "$folder/space"
    mount -t tmpfs none "$folder/space"
    mkdir "$folder/space/upper" "$folder/space/work" "$folder/space/root"
    root=$folder/space/root
    mount -t overlay none "$root" \
        -o "lowerdir=/,upperdir=$folder/space/upper,workdir=$folder/space/work"
    mount -t proc proc "$root/proc"
    for place in run tmp dev; do
        mount -t tmpfs none "$root/$place"
    done
    for device in null zero full random urandom; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    # The second version: the same, but for its number.
    dpkg-deb -R "$deb" "$folder/space/two"
    version=$(dpkg-deb -f "$deb" Version)
    next=${version%?}9
    sed -i "s/^Version: .*/Version: $next+test2/" "$folder/space/two/DEBIAN/control"
    find "$folder/space/two/usr" -type f -name 'stsgate*' -perm /111 -exec \
        env LC_ALL=C sed -i "s/${version//./\\.}/$next/g" {} +
    ip link set lo up
}

no_trace() {
    left=$(find "$folder/space/upper" -iname '*stsgate*' ! -type c)
    [ -z "$left" ] || die "left behind: $left"
    ok "purged without a trace"
}

if [ "${inside%%:*}" = plain ]; then
    folder=${inside#*:}
    lay_overlay
    cp "$deb" "$root/tmp/one.deb"
    cp "$0" "$root/tmp/package.sh"
    dpkg-deb --root-owner-group -b "$folder/space/two" "$root/tmp/two.deb" >/dev/null
    STSGATE_PACKAGE_TEST=chroot chroot "$root" bash /tmp/package.sh /tmp/one.deb
    no_trace
    exit
fi

if [ "${inside%%:*}" = systemd ]; then
    folder=${inside#*:}
    lay_overlay
    rm -f "$root/usr/sbin/policy-rc.d" # it forbids to start services
    shared=${folder%/*}/shared
    cp "$deb" "$shared/one.deb"
    dpkg-deb --root-owner-group -b "$folder/space/two" "$shared/two.deb" >/dev/null
    cp "$here/tests/package_systemd.sh" "$here/tests/package_load.py" "$shared/"
    mkdir "$shared/upper"
    mount --bind "$shared" "$root/mnt"
    mount --bind "$folder/space/upper" "$root/mnt/upper" # to look for what is left behind
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=666
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs none "$root/sys/fs/cgroup" -o mode=755
    if [ -d /sys/fs/cgroup/systemd ]; then
        mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    else
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    fi
    # As a container has them: systemd leaves devices and the kernel's settings alone.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -o remount,bind,ro "$root/sys"
    mkdir -p "$root/run/systemd/system"
    cat >"$root/run/systemd/system/package-test.service" <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
[Service]
Type=oneshot
StandardOutput=append:/mnt/out
StandardError=inherit
ExecStart=/bin/bash /mnt/package_systemd.sh
ExecStopPost=-/bin/systemctl --force --force poweroff
UNIT
    # Units get name spaces of their own, for which the root must be a true one.
    mkdir "$root/run/before"
    cd "$root"
    pivot_root . run/before
    exec chroot . /bin/sh -c 'umount -l /run/before && exec env -i container=lxc \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=package-test.service'
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
