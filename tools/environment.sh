# shellcheck shell=sh disable=SC2154
# Read in by ./run and ./test. In: $here, the project's folder. Out: .venv with the packages that the caller asks for.

say() { printf '%s\n' "$@" >&2; }
stop() {
    say "$@"
    exit 1
}

# environment NAME PIP-ARGUMENT…: install once; again when the requirements changed or an install was interrupted.
environment() {
    stamp="$here/.venv/$1.stamp"
    shift
    wanted=$(cd "$here" && { pwd -P; cat pyproject.toml requirements.txt constraints.txt; } | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && starts 'import speech_emotion'; then return; fi
    install "$@"
}

starts() { "$here/.venv/bin/python" -c "$1" 2>/dev/null; }

install() (
    cd "$here"
    refuse_second_installer
    if [ -e .venv/installing ] || ! starts 'import pip, sys; sys.exit(sys.version_info < (3, 11))'; then
        make_venv
    fi
    echo $$ >.venv/installing
    for old in .venv/*.stamp; do
        [ "$(cat "$old" 2>/dev/null)" = "$wanted" ] || rm -f "$old"
    done
    say "Installing into .venv, once: about half a minute for ./run, some minutes for ./test …"
    .venv/bin/python -m pip install -qq --no-compile -c constraints.txt "$@" >&2 || stop \
        "The installation failed; the lines above say why. Try again when that is mended." \
        "The pinned packages are tested with Python 3.11. PYTHON=python3.11 $0 would choose it."
    .venv/bin/python -m compileall -qq -j 0 src .venv/lib || : # on all cores; pip would use one
    echo "$wanted" >.venv/run.stamp # every install brings the runtime
    case " $* " in *" requirements.txt "*) for one in app serve; do echo "$wanted" >".venv/$one.stamp"; done ;; esac
    echo "$wanted" >"$stamp"
    rm .venv/installing
)

refuse_second_installer() {
    other=$(cat .venv/installing 2>/dev/null) || return 0
    if [ "$other" = $$ ] || ! kill -0 "$other" 2>/dev/null; then return 0; fi
    stop "Process $other is installing into .venv. Try again when it is done." \
        "If it is something else, delete .venv and try again."
}

make_venv() {
    find_python
    [ -e .venv/installing ] && say "An earlier installation was interrupted: starting again."
    rm -rf .venv
    mkdir .venv
    echo $$ >.venv/installing
    say "Making .venv with $("$python" --version) …"
    "$python" -m venv .venv >&2 || stop "$python could not make .venv; the lines above say why."
}

# The first Python that is new enough and whole; PYTHON=… chooses one.
find_python() {
    set -- python3 python3.13 python3.12 python3.11 python
    [ -z "${PYTHON-}" ] || set -- "$PYTHON"
    new_enough=
    for python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        new_enough=$python
        "$python" -c 'import venv, ensurepip' 2>/dev/null && return
    done
    [ -z "$new_enough" ] || stop \
        "$new_enough cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian and Ubuntu, install it with: sudo apt-get install python3-venv"
    stop "This needs Python 3.11 or newer, and none was found (looked for: $*)." \
        "Install one from your system's packages or from python.org, or name one: PYTHON=/path/to/python3 $0"
}
