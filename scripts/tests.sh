#!/bin/sh
# All tests, four at a time: most of them wait for servers. Those that fail beside others are run once more, alone and
# in full view: on a busy machine some programs may starve another. What fails alone too has failed.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
export PYTHONDONTWRITEBYTECODE=  # where it is set, each of some hundred processes would compile the program again

code=0
$python -m pytest -n 4 --dist loadfile "$@" || code=$?
[ $code = 1 ] || exit $code
echo "izinli: these failed beside others and are run once more, alone"
exec $python -m pytest -v --last-failed --last-failed-no-failures none
