#!/usr/bin/env bash
# build.sh DESCRIPTION: builds dist/kpls-agent_VERSION_ARCH.deb for amd64 and arm64
# from this checkout. DESCRIPTION is what `git describe` says; the version follows
# from it, and package and program both tell it. Two builds of a commit give the same bytes: SOURCE_DATE_EPOCH, by default
# the commit's time, is the time of everything in the package.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
described=$1

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
VERSION=$(packaging/version.sh "$described")
export SOURCE_DATE_EPOCH VERSION
umask 022

compile() { # compile ARCH FILE
  CGO_ENABLED=0 GOARCH=$1 $GO build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$2" ./cmd/kpls-agent
}

changelog() { # the releases, and what this is, if it is none of them
  if ! grep -qF "kpls-agent ($VERSION) " packaging/changelog; then
    printf 'kpls-agent (%s) UNRELEASED; urgency=medium\n\n  * Built from %s.\n\n -- %s  %s\n\n' "$VERSION" "$described" \
      "$(sed -n 's/^maintainer: //p' packaging/nfpm.yaml)" "$(date -uRd "@$SOURCE_DATE_EPOCH")"
  fi
  cat packaging/changelog
}

# The licences of the modules that are linked in ask to go along with the program.
notices() {
  local module dir file
  $GO list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\t"}}{{.Dir}}{{end}}{{end}}' ./cmd/kpls-agent | sort -u |
    while IFS=$'\t' read -r module dir; do
      for file in "$dir"/{LICENSE,LICENCE,NOTICE,COPYING}*; do
        [ -f "$file" ] || continue
        printf '==== %s: %s\n\n' "$module" "${file##*/}"
        cat "$file"
        echo
      done
    done
}

shared() { # shared DIR: what is the same on every architecture
  local doc=$1/usr/share/doc/kpls-agent name
  install -d "$doc/examples" "$1"/usr/share/kpls-agent "$1"/usr/share/man/man{1,5} \
    "$1"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
  install -D -m 0644 systemd/kpls-agent*.{service,timer} -t "$1/usr/lib/systemd/system"
  install -D -m 0644 systemd/kpls-agent.sysusers "$1/usr/lib/sysusers.d/kpls-agent.conf"
  install -D -m 0644 packaging/lintian-overrides "$1/usr/share/lintian/overrides/kpls-agent"
  install -m 0644 packaging/copyright "$doc"
  notices >"$doc/third-party-notices"
  changelog | gzip -9n >"$doc/changelog.gz"
  install -m 0644 docs/{clusters,configuration,install,metrics,operations,security}.md "$doc"
  install -m 0644 packaging/examples/* "$doc/examples"
  install -m 0644 packaging/*.schema.json "$1/usr/share/kpls-agent"
  cp -r packaging/prometheus packaging/grafana "$1/usr/share/kpls-agent"
  for name in kpls-agent.1 kpls-agent.yaml.5; do
    gzip -9n <"packaging/man/$name" >"$1/usr/share/man/man${name##*.}/$name.gz"
  done
  dist/host/kpls-agent completion bash >"$1/usr/share/bash-completion/completions/kpls-agent"
  dist/host/kpls-agent completion zsh >"$1/usr/share/zsh/vendor-completions/_kpls-agent"
  dist/host/kpls-agent completion fish >"$1/usr/share/fish/vendor_completions.d/kpls-agent.fish"
}

rm -rf dist
compile "$($GO env GOHOSTARCH)" dist/host/kpls-agent
for ARCH in amd64 arm64; do
  export ARCH
  compile "$ARCH" "dist/$ARCH/usr/bin/kpls-agent"
  shared "dist/$ARCH"
  find "dist/$ARCH" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  chmod -R u=rwX,go=rX "dist/$ARCH"
  $GO tool -modfile=tools/nfpm/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target "dist/kpls-agent_${VERSION}_$ARCH.deb"
done
