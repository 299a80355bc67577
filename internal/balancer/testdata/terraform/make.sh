#!/usr/bin/env bash
# make.sh: what `tofu show -json` says of the modules that `kpls-agent render` writes for the manifests of this folder's
# parent: CLOUD.plan.json before the first apply, CLOUD.state.json after it. `make network` builds OpenTofu and the
# providers, which know the real ones' schemas and nothing else. What the comparison does not read is left out.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/internal/balancer/testdata
tofu=$root/.cache/tofu/tofu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TF_CLI_CONFIG_FILE=$work/rc STUB_SCHEMAS=${STUB_SCHEMAS:-$root/test/network/schemas} TF_IN_AUTOMATION=1
echo "provider_installation { filesystem_mirror { path = \"$root/.cache/network/mirror\" } }" >"$TF_CLI_CONFIG_FILE"

# less leaves out what is not compared, and the null of each attribute that is not set.
less() {
  python3 -c '
import json, sys
def less(v):
    if isinstance(v, dict):
        return {k: less(x) for k, x in v.items() if x is not None}
    return [less(x) for x in v] if isinstance(v, list) else v
d = json.load(sys.stdin)
for k in ("variables", "prior_state", "output_changes", "relevant_attributes", "timestamp", "checks"):
    d.pop(k, None)
for k in ("values", "planned_values"):
    d.get(k, {}).pop("outputs", None)
    for r in d.get(k, {}).get("root_module", {}).get("resources", []):
        r.pop("sensitive_values", None)
for r in d.get("resource_changes", []):
    r["change"] = {"actions": r["change"]["actions"], "after_unknown": r["change"].get("after_unknown", {})}
module = d.get("configuration", {}).get("root_module", {})
d.get("configuration", {}).pop("provider_config", None)
for k in [k for k in module if k != "resources"]:
    module.pop(k)
print(json.dumps(less(d), indent=None, sort_keys=True))
'
}

for cloud in azure aws gcp; do
  folder=$work/$cloud
  (cd "$root" && go run ./cmd/kpls-agent render $cloud --format terraform --manifest "$here/manifest.$cloud.yaml" \
    --out "$folder") >/dev/null
  mv "$folder/terraform.tfvars.example" "$folder/terraform.tfvars"
  "$tofu" -chdir="$folder" init -backend=false >/dev/null
  "$tofu" -chdir="$folder" plan -out=plan >/dev/null
  "$tofu" -chdir="$folder" show -json plan | less >"$here/terraform/$cloud.plan.json"
  "$tofu" -chdir="$folder" apply -auto-approve >/dev/null
  "$tofu" -chdir="$folder" show -json | less >"$here/terraform/$cloud.state.json"
done
