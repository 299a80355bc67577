#!/usr/bin/env bash
# setup.sh [deb]: makes a Debian or Ubuntu machine that has Go ready for the tests of
# the program, `make demo` and `make bench`; with deb also for those of the package.
# What is missing is installed through apt by root, or by a user who may use sudo
# without a password; otherwise it is named, with the command to type. Nothing is
# asked, and nothing is done where all is there.
set -euo pipefail

readonly subject=${1:-program}
readonly java_least=17 # Kafka 4 brokers need it

say() { printf 'setup: %s\n' "$*"; }

# java_version prints the major version of the java that has a compiler: the tests
# start small Java programs from their source.
java_version() {
  java --list-modules 2>/dev/null | sed -n 's/^jdk\.compiler@\([0-9]*\).*/\1/p'
}

have_java() {
  local version
  version=$(java_version) || true
  [ "${version:-0}" -ge "$java_least" ]
}

have_compiler() { # the race detector is linked with C
  echo '#include <stdlib.h>' | "${CC:-gcc}" -E - >/dev/null 2>&1
}

# missing prints one word for each thing that is not there.
missing() {
  command -v make >/dev/null || echo make
  have_compiler || echo gcc
  have_java || echo java
  command -v mvn >/dev/null || echo maven
  if [ "$subject" = deb ]; then
    command -v lintian >/dev/null || echo lintian
    command -v shellcheck >/dev/null || echo shellcheck
    command -v systemd-analyze >/dev/null || echo systemd
    # What `kpls-agent render haproxy` writes is tried on the real program. Debian has it where only root's PATH leads.
    PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || echo haproxy
  fi
}

# java_package prints the first package of this distribution that will do. Kafka
# 3.7 was made for Java 17 and 21; a release may have either, or only a newer one.
java_package() {
  local package
  for package in openjdk-17-jdk-headless openjdk-21-jdk-headless; do
    if [[ $(apt-cache policy "$package" 2>/dev/null) == *'Candidate: '[0-9]* ]]; then
      echo "$package"
      return
    fi
  done
  echo default-jdk-headless
}

# packages prints the packages for words of missing.
packages() {
  local word
  for word in "$@"; do
    case $word in
      java) java_package ;;
      gcc) echo gcc libc6-dev ;;
      *) echo "$word" ;;
    esac
  done
}

# fail names what is missing, words with blanks between, and what to do next.
fail() {
  local list=${1// /, }
  {
    say "missing: ${list//java/Java $java_least or newer with its compiler (a JDK)}"
    say "$2"
  } >&2
  exit 1
}

# apt_install runs apt behind a prefix that gives the rights.
apt_install() {
  local root=("$@") apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300) list
  "${root[@]}" "${apt[@]}" update </dev/null
  read -ra list <<<"$(packages "${words[@]}" | paste -sd " ")"
  say "installing ${list[*]}"
  "${root[@]}" "${apt[@]}" install -y --no-install-recommends "${list[@]}" </dev/null >/dev/null
  if [[ " ${list[*]} " == *' haproxy '* ]]; then # the tests start their own
    "${root[@]}" systemctl --quiet disable --now haproxy >/dev/null 2>&1 || say "haproxy may start at the next boot; systemctl disable haproxy"
  fi
}

command -v go >/dev/null || fail go "install the Go that go.mod asks for, from https://go.dev/dl/, and put it on the PATH"

mapfile -t words < <(missing)
if [ ${#words[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  fail "${words[*]}" "this is neither Debian nor Ubuntu; install these with its package manager, then run the command again"
fi
if [ "$(id -u)" -eq 0 ]; then
  apt_install env
elif sudo -n true 2>/dev/null; then
  apt_install sudo -n
else
  fail "${words[*]}" "type: sudo apt-get update && sudo apt-get install -y $(packages "${words[@]}" | paste -sd " ")"
fi

mapfile -t words < <(missing)
if [ ${#words[@]} -gt 0 ]; then
  fail "${words[*]}" "apt installed its packages, but the PATH leads elsewhere: java is $(command -v java || echo nowhere); choose another with: sudo update-alternatives --config java"
fi
say "ready"
