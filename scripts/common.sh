# Sourced by the other scripts, from the root of the tree: where things are kept, and how the virtual environment is filled.

VENV=${VENV:-$PWD/.venv}

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

# Prints the first Python of at least 3.11; PYTHON names another one to take.
find_python() {
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "moorage needs Python 3.11 or newer, and neither ${PYTHON:-python3} nor python3.11 to python3.13 is one; set PYTHON to its path."
}

make_venv() {
    if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    python=$(find_python)
    "$python" -m venv --clear "$VENV" ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu, install the package python3-venv."
}

# Installs the lock file $1, unless that was done before, and then moorage itself, editable. The test lock holds the same
# versions as the runtime lock, and more, so that both may go into one environment in any order.
install_lock() {
    make_venv
    stamp=$VENV/installed-$1
    if ! cmp -s "$1" "$stamp"; then
        rm -f "$stamp"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$1"
        cp "$1" "$stamp"
    fi
    if ! cmp -s pyproject.toml "$VENV/installed.toml"; then
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        cp pyproject.toml "$VENV/installed.toml"
    fi
}
