# Sourced by the other scripts, after a `cd` to the root of the tree: where things are kept, and how the virtual environment is filled.

# The caller's, if it is relative. As venv writes it into scripts, so that it can be found in them again.
case ${VENV:=$PWD/.venv} in
/*) ;;
*) VENV=$OLDPWD/$VENV ;;
esac
VENV=$(mkdir -p "$VENV" && CDPATH= cd "$VENV" && pwd -P)

# Without a home directory, what is built is kept under TMPDIR for as long as that lasts.
if [ -z "${HOME:-}" ]; then
    HOME=${TMPDIR:-/tmp}/moorage-home
    export HOME
fi
PARTS_CACHE=${PARTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/moorage}
export PARTS_CACHE

fail() {
    echo "$*" >&2
    exit 1
}

# True if $1 is a Python from 3.11 to 3.$2.
is_python() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null
}

# Prints PYTHON if that is a Python of at least 3.11, else the first one for which the locked packages have wheels, else a newer python3.
find_python() {
    if [ -n "${PYTHON:-}" ] && is_python "$PYTHON" 99; then
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_python "$candidate" 14; then
            echo "$candidate"
            return
        fi
    done
    if is_python python3 99; then
        echo python3
        return
    fi
    fail "moorage needs Python 3.11 or newer, and neither ${PYTHON:+$PYTHON, }python3 nor python3.11 to python3.14 is one; set PYTHON to its path."
}

# A tree that was moved or copied has an environment whose scripts name the Python of the old place.
make_venv() {
    if "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && grep -qsF "$VENV/bin/python" "$VENV/bin/pip"; then
        return
    fi
    python=$(find_python)
    "$python" -m venv --clear "$VENV" ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu, install the package python3-venv."
}

# Installs the lock file $1, unless that was done before, and then moorage itself, editable: the stamps say what, and of which tree. The test lock holds the same
# versions as the runtime lock, and more, so that both may go into one environment in any order.
install_lock() {
    make_venv
    stamp=$VENV/installed-$1
    if ! cmp -s "$1" "$stamp"; then
        rm -f "$stamp"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$1"
        cp "$1" "$stamp"
    fi
    if ! tree | cmp -s - "$VENV/installed.toml"; then
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        tree >"$VENV/installed.toml"
    fi
}

tree() {
    echo "# $(pwd -P)"
    cat pyproject.toml
}
