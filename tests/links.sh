#!/bin/sh
# Guards the library split (docs/architecture.md): which TLS library stands in which process, and that
# the static libev exports nothing. Usage: links.sh FOLDER-WITH-THE-EXECUTABLES
dir=$1
failed=0

# never EXECUTABLE LIBRARY: fails where the executable would load the library.
never() {
    if ldd "$dir/$1" | grep -q "$2"; then
        echo "$1 loads $2"
        failed=1
    fi
}

never stsgate-worker 'libcrypto\.so\.3'
never stsgate-worker 'libcurl'
never stsgate-worker 'libunbound'
never stsgate-check 'libcrypto\.so\.3'
never stsgate-check 'libcurl'
never stsgate-check 'libunbound'
never stsgate-policy '/android/'
never stsgate 'libcurl'
never stsgate 'libunbound'
never stsgate '/android/'
never stsgate 'libcrypto'
never stsgate 'libmicrohttpd'
never stsgate-worker 'libmicrohttpd'
never stsgate-policy 'libmicrohttpd'
never stsgate-status 'libcurl'
never stsgate-status 'libunbound'
never stsgate-status '/android/'

for program in stsgate stsgate-worker stsgate-policy stsgate-status stsgate-check; do
    [ -x "$dir/$program" ] || { echo "$dir/$program is missing"; failed=1; continue; }
    if nm -D --defined-only "$dir/$program" | grep -qE ' (event_base_new|ev_run|event_add)$'; then
        echo "$program exports names of libev"
        failed=1
    fi
done
exit $failed
