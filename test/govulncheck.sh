#!/usr/bin/env bash
# govulncheck.sh [PACKAGE...]: fails if the program calls a function with a known
# vulnerability, by Go's vulnerability database. VULNDB names another copy of it:
# https://HOST/PATH, or file:///DIR with its OSV files.
#
# A machine that cannot reach the database has checked nothing. It says so in capitals and
# still exits with 0, so work without a network goes on. A database that VULNDB
# names must be there.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- ./cmd/...

status=0
said=$(${GO:-go} tool -modfile=tools/govulncheck/go.mod govulncheck ${VULNDB:+-db "$VULNDB"} "$@" 2>&1) || status=$?
case $status:$said in
0:*)
  echo "govulncheck: no call of a function with a known vulnerability"
  ;;
*'fetching vulnerabilities: '*) # no network, a proxy that refuses, an error of the server
  [ -z "${VULNDB:-}" ] || { printf '%s\n' "$said" >&2; exit 1; }
  printf '\ngovulncheck: NOT CHECKED. The vulnerability database cannot be reached:\n  %s\n%s\n\n' "${said##*$'\n'}" \
    'Nothing is known about vulnerabilities of this commit. Run make lint on a machine that reaches the database, or name a copy: make lint VULNDB=file:///DIR' >&2
  [ -z "${GITHUB_ACTIONS:-}" ] || echo '::warning title=govulncheck::NOT CHECKED: the vulnerability database cannot be reached'
  ;;
*)
  printf '%s\n' "$said" >&2
  [ "$status" -ne 3 ] || echo "govulncheck: upgrade the module that is named, or do without the function" >&2
  exit "$status"
  ;;
esac
