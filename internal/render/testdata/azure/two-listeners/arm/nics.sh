#!/usr/bin/env bash
# Written by kpls-agent render azure for the manifest with SHA-256 4555a8a723cf5a7c713c652f76d4d78c9022a00309b697893a994166a3ce4680. The next render replaces it.
#
# usage: nics.sh RESOURCE_GROUP ID=NIC[/IP_CONFIGURATION]...
#
# Puts the network interface of each broker into the broker's pools, after the template was deployed. Each broker of the
# manifest is given once, by its node.id; the IP configuration is ipconfig1 if none is given.
set -euo pipefail

declare -a pools
lb=kafka-pls-lb
brokers=(1 2 3 4 5 6 7 8 9 10 11 12)
pools[1]="external-b1 external2-b1"
pools[2]="external-b2 external2-b2"
pools[3]="external-b3 external2-b3"
pools[4]="external-b4 external2-b4"
pools[5]="external-b5 external2-b5"
pools[6]="external-b6 external2-b6"
pools[7]="external-b7 external2-b7"
pools[8]="external-b8 external2-b8"
pools[9]="external-b9 external2-b9"
pools[10]="external-b10 external2-b10"
pools[11]="external-b11 external2-b11"
pools[12]="external-b12 external2-b12"

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
