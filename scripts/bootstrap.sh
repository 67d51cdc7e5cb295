#!/bin/sh
# Make .venv and install izinli into it:  bootstrap.sh run | dev   (dev adds what tests, lint and types need)
#
# On Debian and Ubuntu the standard library comes without `ensurepip`; as root it is installed, otherwise this says
# what to type. The install is editable: a changed source file needs no second install, a changed pyproject.toml does.
set -eu
cd "$(dirname "$0")/.."
want=${1:?usage: bootstrap.sh run|dev}
venv=.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say() { echo "izinli: $*"; }
die() { echo "izinli: $*" >&2; exit 1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
    die "Python 3.11 or newer is needed (PYTHON=/path/to/python3 make … chooses one)"
}

ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null || die "this Python has no venv module (ensurepip); install it and try again"
    [ "$(id -u)" = 0 ] || die "this Python has no venv module; type:  sudo apt-get install $package"
    say "installing $package"
    sh scripts/apt.sh "$package"
}

if ! [ -x $venv/bin/python ] || ! new_enough $venv/bin/python || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    ensure_venv_module "$python"
    say "making $venv with $("$python" --version)"
    rm -rf $venv
    "$python" -m venv $venv
fi

if [ "$want" = dev ]; then target='.[dev]'; else target='.'; fi
say "installing izinli and its libraries ($want)"
$venv/bin/python -m pip install --quiet --editable "$target"
touch $venv/.installed
[ "$want" = run ] || touch $venv/.installed-dev
