#!/usr/bin/env bash
# setup.sh: builds, below .cache, what the tests of this folder run: OpenTofu, which takes 8 minutes of CPU once for
# each version, cfn-lint, Azure's own types, and a stub of each provider in the folder schemas, laid out as a mirror of
# OpenTofu's registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
go=${GO:-go}

version=$("$go" list -m -modfile=tools/opentofu/go.mod -f '{{.Version}}' github.com/opentofu/opentofu)
tofu=.cache/tofu-$version/tofu
if [ ! -x "$tofu" ]; then
  echo "network: building OpenTofu $version, once"
  mkdir -p "${tofu%/*}"
  CGO_ENABLED=0 nice -n 15 "$go" build -modfile=tools/opentofu/go.mod -trimpath -ldflags '-s -w' \
    -o "$tofu.new" github.com/opentofu/opentofu/cmd/tofu
  mv "$tofu.new" "$tofu"
fi
ln -sfn "tofu-$version" .cache/tofu

# cfn-lint is from PyPI, with all that it needs pinned.
lint=.cache/cfn-lint-$(sed -n 's/^cfn-lint==//p' test/network/cfn-lint.txt)
if [ ! -x "$lint/bin/cfn-lint" ]; then
  rm -rf "$lint"
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" -ne 0 ]; then
      echo "network: python3 with its module venv is missing; type: sudo apt-get install -y python3-venv" >&2
      exit 1
    fi
    echo "network: installing python3-venv"
    apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
  fi
  python3 -m venv "$lint"
  "$lint/bin/pip" install --quiet --disable-pip-version-check --no-deps -r test/network/cfn-lint.txt
fi
ln -sfn "${lint#.cache/}" .cache/cfn-lint

rm -rf .cache/network
mkdir -p .cache/network
CGO_ENABLED=0 "$go" build -C test/network/stub -trimpath -o "$PWD/.cache/network/stub" .
CGO_ENABLED=0 "$go" build -C test/network/arm -trimpath -o "$PWD/.cache/network/arm" .
for schema in test/network/schemas/*.json; do
  name=${schema##*/}
  name=${name%.json}
  version=$(sed -n 's/^ "version": "\(.*\)",$/\1/p' "$schema")
  folder=.cache/network/mirror/registry.opentofu.org/hashicorp/$name/$version/$("$go" env GOOS)_$("$go" env GOARCH)
  mkdir -p "$folder"
  ln -f .cache/network/stub "$folder/terraform-provider-$name"
done
