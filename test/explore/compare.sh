#!/bin/sh
# Compares what two commits decide in every state of the battery: same state, same decision.
# Usage: test/explore/compare.sh OLD NEW [a part of a configuration's name]
# It prints the first differences and fails, or says how many decisions are equal. EXPLORE_TEXT=1 compares the
# texts of the reasons, too.
set -eu
old=$1 new=$2
export EXPLORE="${3:-}"
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/old.tree" 2>/dev/null || :; git worktree remove --force "$dir/new.tree" 2>/dev/null || :; rm -rf "$dir"' EXIT
for which in old new; do
	eval "ref=\$$which"
	git worktree add --quiet --detach "$dir/$which.tree" "$ref"
	mkdir "$dir/$which"
	(cd "$dir/$which.tree" && EXPLORE_DUMP="$dir/$which" go test -count=1 -run '^TestBattery$' ./test/explore >"$dir/$which.log" 2>&1) ||
		{ cat "$dir/$which.log"; echo "$ref does not pass the battery"; exit 1; }
done
if ! diff -r -U 2 "$dir/old" "$dir/new" >"$dir/diff"; then
	head -n 60 "$dir/diff"
	echo "$old and $new decide differently: $(grep -c '^+[^+]' "$dir/diff") lines"
	exit 1
fi
cat "$dir"/new/* | wc -l | sed 's/^ */equal decisions: /'
