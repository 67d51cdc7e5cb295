#!/bin/sh
# Fetch the foreign programs that no package of this system can give:  foreign.sh
#
#   build/exim        Exim. Debian lets one mail server be installed, and the tests have Postfix; so the package is
#                     unpacked there and nothing of it is installed but the libraries and the user whose name is
#                     compiled in. Root on Debian or Ubuntu only.
#   build/nodemailer  nodemailer, by npm.
#   build/smpp        node-smpp, by npm.
set -eu
cd "$(dirname "$0")/.."

exim() {
    [ -x build/exim/usr/sbin/exim4 ] && id Debian-exim >/dev/null 2>&1 && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "izinli: no build/exim: only root on Debian or Ubuntu can unpack it — what needs Exim cannot run"
        return
    fi
    echo "izinli: unpacking Exim into build/exim"
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2046  # a list of words
    sh scripts/apt.sh $(apt-cache depends exim4-daemon-light | sed -n 's/^  Depends: \(lib[^ ]*\)$/\1/p')
    id Debian-exim >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin Debian-exim
    rm -rf build/exim
    mkdir -p build/exim
    (cd build/exim && apt-get download -qq -o APT::Sandbox::User=root exim4-daemon-light >/dev/null && dpkg-deb -x ./*.deb .)
}

# by_npm DIRECTORY PACKAGE VERSION
by_npm() {
    [ -d "build/$1/node_modules/$2" ] && return
    if ! command -v npm >/dev/null; then
        echo "izinli: no build/$1: npm is not installed — what needs $2 cannot run"
        return
    fi
    echo "izinli: installing $2 into build/$1"
    npm install --loglevel=error --no-audit --no-fund --ignore-scripts --prefix "build/$1" "$2@$3" >/dev/null && return
    rm -rf "build/$1"
    echo "izinli: $2 could not be installed — what needs it cannot run"
}

exim
by_npm nodemailer nodemailer 6
by_npm smpp smpp 0.5.1
