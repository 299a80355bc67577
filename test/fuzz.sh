#!/usr/bin/env bash
# Runs every fuzz target for TIME (such as 3m), one after the other. What one finds
# goes into the testdata/fuzz of its package: keep it, it is a test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME}
grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | sort | while IFS=: read -r file target; do
  package=${file%/*} target=${target#func }
  printf '== %s %s\n' "$package" "$target"
  ${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null
done
