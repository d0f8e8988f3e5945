#!/bin/bash
# lacking.sh STSGATE: run by run.sh. G15: what a kernel lacks is said. This one has nftables, but not its tables of
# family inet; and it is kept from loading IPv6.
set -euo pipefail
program=$1 conf=/run/stsgate.conf
fail() { echo "FAIL $*" && exit 1; }

configure() { # LISTENER
    cat >"$conf" <<CONF
hostname = "gateway.test"
inside_interfaces = {lo}
listen_tproxy = {"$1"}
workers = 1
user = "nobody"
store_file = ""
tlsrpt_store_file = ""
record_file = ""
status_listen = ""
control_socket = "/run/stsgate.socket"
CONF
}

echo /bin/true >/proc/sys/kernel/modprobe
[ ! -e /proc/net/if_inet6 ] || fail "there is IPv6"
configure "[::]:2525"
status=0
said=$("$program" run -c "$conf" 2>&1) || status=$?
echo "$said"
[ "$status" -ne 0 ] || fail "it has started"
[[ $said == *"[::]:2525: socket: Address family not supported by protocol; the kernel has no IPv6"* ]] || fail "IPv6"

configure "0.0.0.0:2525"
"$program" run -c "$conf" >/run/log 2>&1 &
gateway=$!
for ((i = 0; i < 600; i++)); do
    ! grep -q event=ready /run/log || break
    sleep 0.1
done
cat /run/log
grep -q event=ready /run/log || fail "it does not start with IPv4 alone"
kill "$gateway"
wait "$gateway" || fail "it ended with status $?"

echo /run/modprobe >/proc/sys/kernel/modprobe
status=0
said=$("$program" rules --check -c "$conf" 2>&1 >/run/out) || status=$?
echo "$said" | grep '^stsgate:' || true
[ "$status" -eq 3 ] || fail "exit status $status of the check"
[ ! -s /run/out ] || fail "it says what it cannot know: $(cat /run/out)"
[[ $said == *"the rules need what this kernel lacks: nftables with tables of family inet"* ]] || fail "tables"
[[ $said != *"module nft_tproxy"* ]] || fail "tproxy: nobody can know"
