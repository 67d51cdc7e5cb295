#!/bin/sh
# See to the programs that were not written here:  programs.sh test | bench
#
# As root on Debian or Ubuntu what is missing is installed. Elsewhere it is named, with the command to type; the
# tests that need it are then skipped visibly, and fail in CI (CI=true), where "skipped" would mean "not proven".
set -eu
cd "$(dirname "$0")/.."
case ${1:?usage: programs.sh test|bench} in
    test)  wanted='postfix:postfix smtp-sink:postfix redis-server:redis-server swaks:swaks initdb:postgresql chromium:chromium chromedriver:chromium-driver opendkim:opendkim haproxy:haproxy node:nodejs npm:npm bearerbox:kannel tshark:tshark text2pcap:tshark age:age' ;;
    bench) wanted='postfix:postfix smtp-source:postfix smtp-sink:postfix redis-server:redis-server haproxy:haproxy taskset:util-linux node:nodejs npm:npm wrk:wrk initdb:postgresql' ;;
    *)     echo "usage: programs.sh test|bench" >&2; exit 64 ;;
esac
PATH=$PATH:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin)  # Debian's initdb is in no PATH

packages=
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null && continue
    case " $packages " in *" ${pair##*:} "*) ;; *) packages="$packages ${pair##*:}" ;; esac
done
# swaks speaks TLS with it.
[ "$1" != test ] || perl -MNet::SSLeay -e 1 2>/dev/null || packages="$packages libnet-ssleay-perl"
packages=${packages# }

if [ -z "$packages" ]; then
    :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "izinli: installing $packages (no service is started)"
    # shellcheck disable=SC2086  # a list of words
    sh scripts/apt.sh $packages
else
    echo "izinli: not installed here: $packages — what needs them cannot run"
    echo "izinli: on Debian or Ubuntu type:  sudo apt-get install $packages"
fi
[ "$1" != test ] || sh scripts/foreign.sh
