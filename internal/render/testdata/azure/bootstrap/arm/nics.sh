#!/usr/bin/env bash
# Written by kpls-agent render azure for the manifest with SHA-256 1cc96b9e9d6c20009619c55c8c2c172aab9931da13a155627251f1ef4ecea8e3. The next render replaces it.
#
# usage: nics.sh RESOURCE_GROUP ID=NIC[/IP_CONFIGURATION]...
#
# Puts the network interface of each broker into the broker's pools, after the template was deployed. Each broker of the
# manifest is given once, by its node.id; the IP configuration is ipconfig1 if none is given.
set -euo pipefail

declare -a pools
lb=kafka-pls-lb
brokers=(1 2 3)
pools[1]="external-b1 all-all"
pools[2]="external-b2 all-all"
pools[3]="external-b3 all-all"

usage() {
  printf 'nics.sh: %s\nusage: nics.sh RESOURCE_GROUP ID=NIC[/IP_CONFIGURATION]...\n' "$1" >&2
  exit 2
}

[ $# -gt 0 ] || usage "expected a resource group, and the network interface of each broker: ${brokers[*]}"
group=$1
shift
declare -a nics
for given in "$@"; do
  id=${given%%=*}
  [[ $given == ?*=?* && " ${brokers[*]} " == *" $id "* ]] || usage "$given names no broker of the manifest: ${brokers[*]}"
  [ -z "${nics[id]:-}" ] || usage "broker $id is given twice"
  nics[id]=${given#*=}
done
for id in "${brokers[@]}"; do
  [ -n "${nics[id]:-}" ] || usage "broker $id has no network interface"
done

for id in "${brokers[@]}"; do
  nic=${nics[id]%%/*}
  configuration=ipconfig1
  [[ ${nics[id]} != */* ]] || configuration=${nics[id]#*/}
  for pool in ${pools[id]}; do
    az network nic ip-config address-pool add --resource-group "$group" --nic-name "$nic" \
      --ip-config-name "$configuration" --lb-name "$lb" --address-pool "$pool" --output none
    echo "broker $id: $nic is in $pool"
  done
done
