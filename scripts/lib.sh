# For the scripts beside it: where things are, and how to say what happens.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '==> %s\n' "$*"; }

# build_preset PRESET [TARGET…]: configures once, then builds.
build_preset() {
  local preset=$1
  shift
  [ -f "$root/build/$preset/build.ninja" ] || cmake -S "$root" --preset "$preset" --log-level=WARNING || return
  cmake --build "$root/build/$preset" "${@/#/--target=}"
}
