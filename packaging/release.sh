#!/usr/bin/env bash
# release.sh VERSION: everything that a release of this commit is made of, below dist/:
#
#   kpls-agent_VERSION_{amd64,arm64}.deb   the packages
#   release-notes.md                       the version's section of CHANGELOG.md
#   SHA256SUMS                             the checksums of the packages
#
# VERSION is v1.2.3, or v1.2.3-rc.1 for a pre-release. The script makes no tag: its last
# line is the command for that.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1-}

refuse() { # refuse WHAT NEXT
  printf 'release: %s\nrelease: %s\n' "$1" "$2" >&2
  exit 1
}

number='(0|[1-9][0-9]*)'
[[ $version =~ ^v$number\.$number\.$number(-(alpha|beta|rc)(\.$number)?)?$ ]] ||
  refuse "\"$version\" is no version" "name one, as v1.2.3 or v1.2.3-rc.1: make release VERSION=v1.2.3"

changes=$(git status --porcelain)
[ -z "$changes" ] || refuse "the checkout differs from its commit: ${changes%%$'\n'*}" "commit the changes or remove them"

commit=$(git rev-parse HEAD)
tagged=$(git rev-parse --quiet --verify "refs/tags/$version^{commit}" || true)
[ -z "$tagged" ] || [ "$tagged" = "$commit" ] ||
  refuse "the tag $version is on another commit, ${tagged:0:12}" "choose the next version, or check that commit out"

# The section is from its heading to the next one, without blank lines around it.
notes=$(awk -v version="${version#v}" '
  /^## / { inside = ($2 == version); next }
  inside' CHANGELOG.md | sed -e '/./,$!d')
[ -n "$notes" ] || refuse "CHANGELOG.md has no section \"## ${version#v} (DATE)\", or the section is empty" \
  "move what this release brings from \"Unreleased\" to that section, and commit it"

debian=$(packaging/version.sh "$version")
grep -qF "kpls-agent ($debian) " packaging/changelog ||
  refuse "packaging/changelog has no entry \"kpls-agent ($debian) ...\"" "add one above the others; it may be one line that names the release"

GO=${GO:-go} packaging/build.sh "$version"
printf '%s\n' "$notes" >dist/release-notes.md
(cd dist && sha256sum -- kpls-agent_"$debian"_*.deb >SHA256SUMS)

printf 'release: %s of commit %s is in dist:\n' "$version" "${commit:0:12}"
sed 's/^/  /' dist/SHA256SUMS
printf 'release: upload these files and release-notes.md. The tag is made by:\n'
printf 'git tag -a %s %s --cleanup=whitespace -F dist/release-notes.md && git push origin %s\n' "$version" "${commit:0:12}" "$version"
