#!/bin/sh
# `stsgate rules`: what it prints for the two usual configurations is what stands in deploy/nftables/, and it
# refuses those of which no rules can be made. Usage: rules.sh STSGATE DEPLOY [--write]
set -eu
stsgate=$1 deploy=$2 write=${3-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# conf NAME LINE...: a configuration.
conf() {
    name=$1
    shift
    { echo 'hostname = gw.test' && printf '%s\n' "$@"; } >"$folder/$name"
}

# same FILE CONF ARGUMENT...: the output is the file.
same() {
    file=$deploy/$1 from=$folder/$2
    shift 2
    "$stsgate" rules "$@" -c "$from" >"$folder/out"
    if [ "$write" = --write ]; then
        cp "$folder/out" "$file"
    elif ! diff -u "$file" "$folder/out"; then
        echo "$file: not what \`stsgate rules $*\` prints; tests/rules.sh STSGATE DEPLOY --write mends it"
        failed=1
    fi
}

# refused CONF TEXT: exit status 2, and the text.
refused() {
    status=0
    "$stsgate" rules -c "$folder/$1" >/dev/null 2>"$folder/err" || status=$?
    if [ "$status" -ne 2 ] || ! grep -q "$2" "$folder/err"; then
        echo "$1: exit $status: $(cat "$folder/err")"
        failed=1
    fi
}

# has CONF TEXT, has_not CONF TEXT: a line of the rules, anywhere.
has() {
    "$stsgate" rules -c "$folder/$1" | grep -qF -- "$2" || { echo "$1: no \"$2\"" && failed=1; }
}
has_not() {
    ! "$stsgate" rules -c "$folder/$1" | grep -qF -- "$2" || { echo "$1: \"$2\"" && failed=1; }
}

conf tproxy 'inside_interfaces = {eth1}'
conf redirect 'inside_interfaces = {eth1}' 'listen_redirect = {"[::]:2526"}'
same nftables/tproxy.nft tproxy
same nftables/redirect.nft redirect
same nftables/routes.sh tproxy --routes
same nftables/remove.sh tproxy --remove

conf nowhere
conf proxy 'inside_interfaces = {eth1}' 'listen_proxy = {"[::]:2525"}' 'proxy_networks = {"192.0.2.1"}'
conf circle 'inside_interfaces = {eth1}' 'taken_mark = 2'
conf unmarked 'own_mail = true' 'upstream_mark = 0'
refused nowhere 'inside_interfaces is empty'
refused proxy 'no rules lead to listen_proxy'
refused circle 'would go in circles'
refused unmarked 'own_mail needs an upstream_mark'

conf one 'inside_interfaces = {eth1}' 'listen_tproxy = {"127.0.0.1:2525"}' \
    'destination_ports = {25, 2525}' 'bypass_networks = {"192.0.2.0/24", "2001:db8::/32"}' 'own_mail = true'
has one 'tcp dport { 25, 2525 } tproxy ip to 127.0.0.1:2525'
has_not one 'tproxy ip6'
has one 'elements = { "eth1", "lo" }'
has one 'ip6 daddr @bypass6 return'
has one 'elements = { 192.0.2.0/24 }'
has one 'type route hook output priority mangle'
conf clients 'inside_interfaces = {eth1}' 'listen_redirect = {"[::]:2526"}' 'upstream_source = client'
has clients 'socket transparent 1'
has_not redirect 'socket transparent 1'

exit $failed
