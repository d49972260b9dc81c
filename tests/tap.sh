# shellcheck shell=bash
# tap.sh: what tests written in bash share. They source it, call check and skip, and end with `plan`. $dir is a folder of
# their own, removed at the end; $dir/log holds what the last check printed.
dir=$(mktemp -d)
export LATHE_CACHE= # nothing is kept in anybody's home, and nothing found there
trap 'rm -rf "$dir"' EXIT
n=0

check() { # DESCRIPTION COMMAND…
  local name=$1
  shift
  n=$((n + 1))
  if "$@" >"$dir/log" 2>&1; then printf 'ok %d - %s\n' "$n" "$name"; return; fi
  printf 'not ok %d - %s\n' "$n" "$name"
  { printf '%s: %s\n' "$name" "$*"; tail -n 40 "$dir/log"; } >&2
  return 1
}

# A check that cannot be made here: skipped; where LT_NO_SKIP is set a failure, unless LT_MAY_SKIP (an extended regular
# expression) fits the reason. check_main.h has the same for tests written in C.
skip() { # DESCRIPTION WHY
  n=$((n + 1))
  if [ -z "${LT_NO_SKIP:-}" ] || { [ -n "${LT_MAY_SKIP:-}" ] && [[ $2 =~ $LT_MAY_SKIP ]]; }; then printf 'ok %d - %s # SKIP %s\n' "$n" "$1" "$2"
  else printf 'not ok %d - %s: %s\n' "$n" "$1" "$2"; fi
}

# The first of some programs that is there, or nothing.
first_of() { local p; for p in "$@"; do command -v "$p" 2>/dev/null && return; done; }
has_line() { grep -qE -- "$2" "$1" || { printf 'no line like %s in:\n' "$2"; head -n 40 "$1"; false; }; }
plan() { printf '1..%d\n' "$n"; }
