#!/usr/bin/env bash
# version.sh [DESCRIPTION]: the Debian version for what `git describe --tags
# --always --dirty` says, by default of this checkout. What dpkg sorts by:
#
#   v1.2.3-rc.1  ->  1.2.3~rc.1             before 1.2.3
#   v1.2.3       ->  1.2.3
#   v1.2.3-4-gabcdef0  ->  1.2.3+4.gabcdef0   after 1.2.3, before 1.2.4
#   abcdef0 (no tag)   ->  0~COMMITS.gabcdef0  before every release
set -euo pipefail

said=${1:-$(git describe --tags --always --dirty)}
suffix=
if [[ $said == *-dirty ]]; then
  said=${said%-dirty} suffix=.dirty
fi
case $said in
v[0-9]*-[0-9]*-g*) # commits after a tag
  commit=${said##*-} said=${said%-*}
  suffix=+${said##*-}.$commit$suffix said=${said%-*}
  ;;
v[0-9]* | [0-9]*.[0-9]*) # a release
  suffix=${suffix:++dirty}
  ;;
*[!0-9a-f]*)
  echo "version.sh: $said is neither a commit nor a version such as v1.2.3; name it: make deb VERSION=v1.2.3" >&2
  exit 1
  ;;
*) # a commit in a history without a tag
  suffix=~$(git rev-list --count HEAD).g$said$suffix said=0
  ;;
esac
said=${said#v}
said=${said/-/\~} # a pre-release goes before its release
echo "${said//-/.}$suffix"
