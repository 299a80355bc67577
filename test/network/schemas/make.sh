#!/bin/sh
# make.sh: writes the schemas of this folder again, by hand, after a version or resource below has changed. It
# fetches 30 to 40 MB from npm for each provider.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# schema NAME PACKAGE RESOURCE...
schema() {
  name=$1 package=$2
  shift 2
  (cd "$folder" && npm pack --silent "$package" >"$name.tgz.name")
  go run ../extract "$folder/$(cat "$folder/$name.tgz.name")" "$@" >"$name.json"
}

schema azurerm @cdktn/provider-azurerm@16.1.0 \
  azurerm_lb azurerm_lb_backend_address_pool azurerm_lb_probe azurerm_lb_rule \
  azurerm_network_interface_backend_address_pool_association azurerm_network_security_rule \
  azurerm_private_link_service azurerm_subnet

schema aws @cdktn/provider-aws@25.7.0 \
  aws_lb aws_lb_listener aws_lb_target_group aws_lb_target_group_attachment aws_security_group \
  aws_vpc_endpoint_service aws_vpc_security_group_egress_rule aws_vpc_security_group_ingress_rule

for name in google google-beta; do
  schema "$name" "@cdktf/provider-$name@16.12.1" \
    google_compute_firewall google_compute_forwarding_rule google_compute_region_backend_service \
    google_compute_region_network_endpoint google_compute_region_network_endpoint_group \
    google_compute_service_attachment google_compute_subnetwork
done
