#!/bin/sh
# routes.sh add|del: the routes that deploy/nftables/tproxy.nft needs. Packets with its mark are for
# this host, whatever their destination. Run it as often as you like.
set -eu

mark=0x1  # `taken` in tproxy.nft
table=100 # any routing table that nothing else uses

case "${1-}" in
add | del) ;;
*)
    echo "usage: $0 add|del" >&2
    exit 2
    ;;
esac

for family in -4 -6; do
    # "ip rule add" would add a second one, so what is there goes first.
    while ip "$family" rule del fwmark "$mark" lookup "$table" 2>/dev/null; do :; done
    case "$family" in
    -4) all=0.0.0.0/0 ;;
    *) all=::/0 ;;
    esac
    if [ "$1" = add ]; then
        ip "$family" route replace local "$all" dev lo table "$table"
        ip "$family" rule add fwmark "$mark" lookup "$table"
    else
        ip "$family" route del local "$all" dev lo table "$table" 2>/dev/null || :
    fi
done
