#!/bin/bash
# Runs a command as root in User-Mode Linux, whose kernel has TLS, and ends with its status.
#
#   run.sh [-m MEBIBYTES] [-t SECONDS] COMMAND [ARGUMENT ...]
#
# The guest's root is this machine's own file system, writable: the command finds what it finds here.
# 77: the programs for it are not installed (user-mode-linux, busybox-static, kmod, iproute2).
# 125: the guest has ended without a status; its console is printed.
set -u

memory=256 seconds=90
while getopts m:t: option; do
    case $option in
    m) memory=$OPTARG ;;
    t) seconds=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || exit 2

PATH=$PATH:/usr/sbin:/sbin
for program in linux.uml busybox modprobe ip; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped: $program is not installed"
        exit 77
    fi
done
if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: needs root, whose files the guest sees"
    exit 77
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/stsgate-uml-XXXXXX")
trap 'rm -rf "$folder"' EXIT

# The first process of the guest. The package keeps its modules away from /lib/modules, where the
# kernel's own requests for them (tcp-ulp-tls, gcm(aes), ...) would look.
{
    cat <<'INIT'
#!/bin/bash
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/root/lib /run/netns
ln -s /usr/lib/uml/modules /run/root/lib/modules
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/root "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
ip link set lo up
INIT
    printf 'export PATH=%q HOME=/root\ncd %q\n' "$PATH" "$PWD"
    printf '%q ' "$@"
    printf '</dev/null >%q 2>&1\n' "$folder/output"
    printf 'echo $? >%q\nsync\nbusybox poweroff -f\n' "$folder/status"
} >"$folder/init"
chmod +x "$folder/init"
: >"$folder/output"

timeout -k 5 "$seconds" linux.uml "mem=${memory}M" rootfstype=hostfs rootflags=/ rw \
    "init=$folder/init" con=null con0=null,fd:1 quiet panic=1 \
    </dev/null >"$folder/console" 2>&1
cat "$folder/output"
if [ -s "$folder/status" ]; then
    exit "$(cat "$folder/status")"
fi
echo "run.sh: the guest has ended without a status; its console:" >&2
tail -n 40 "$folder/console" >&2
exit 125
