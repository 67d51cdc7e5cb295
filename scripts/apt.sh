#!/bin/sh
# Install Debian packages as root, asking nothing and starting no service:  apt.sh PACKAGE...
#
# The programs are wanted for their binaries; a mail server that starts to listen on port 25 because somebody ran
# the tests of a gateway would be a surprise. policy-rc.d is Debian's own way of saying so; one that stands there
# already is left alone.
set -eu
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=

finish() {
    status=$?
    [ -z "$made_policy" ] || rm -f "$policy"
    if [ $status -ne 0 ]; then cat "$log" >&2; fi
    rm -f "$log"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

if ! [ -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections >>"$log" 2>&1 || true
apt-get update -qq >>"$log" 2>&1
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
