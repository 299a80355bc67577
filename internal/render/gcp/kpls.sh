# The network's side of a Kafka cluster on Google Cloud: a port mapping endpoint group, the forwarding rule before it,
# and a service attachment. It can be run again at any time: it creates what is missing, and corrects what leads
# elsewhere. What only Google Cloud knows comes from the environment:
#
#   PROJECT     the project of the brokers
#   REGION      their region, such as us-west1
#   NETWORK     their VPC network
#   SUBNET      the subnet in which each broker's VM has its first network interface
#   BROKER_TAG  a network tag of the brokers' VMs, for the firewall rule
#   NAT_RANGE   range of the subnet for Private Service Connect: one address for each customer's endpoint
#   CONSUMERS   who may connect: projects with how many connections each may have, such as "project-a=10 project-b=10"
#   BROKER_n    ZONE/NAME of the VM of the broker with node.id n, such as us-west1-a/kafka-1
#
#   DRY_RUN=yes prints what would be changed, and changes nothing
#   PRUNE=yes   removes ports that the manifest does not have, and customers that CONSUMERS does not have

faults=0
fault() {
  printf 'kpls.sh: %s\n' "$*" >&2
  faults=$((faults + 1))
}
stop_on_faults() {
  if [ "$faults" -gt 0 ]; then
    printf 'kpls.sh: %d faults; nothing was changed\n' "$faults" >&2
    exit 2
  fi
}

# want VARIABLE PATTERN EXAMPLE: says what is wrong with a parameter.
want() {
  local value=${!1-}
  if [ -z "$value" ]; then
    fault "$1 is not set; expected a value such as $1=$3"
  elif [[ ! $value =~ ^$2$ ]]; then
    fault "$1=$value is no such value; expected one such as $1=$3"
  fi
}

readonly label='[a-z]([-a-z0-9]*[a-z0-9])?'
want PROJECT '[a-z0-9.:-]+' my-project
want REGION '[a-z]+-[a-z]+[0-9]+' us-west1
want NETWORK "$label" kafka-vpc
want SUBNET "$label" brokers
want BROKER_TAG "$label" kafka
want NAT_RANGE '[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}' 10.128.0.0/24
want CONSUMERS '[a-z0-9.:-]+=[0-9]+([ ,]+[a-z0-9.:-]+=[0-9]+)*' '"customer-project=10"'
seen=' '
for id in "${brokers[@]}"; do
  want "BROKER_$id" "[a-z]+-[a-z]+[0-9]+-[a-z]/$label" "us-west1-a/kafka-$id"
  variable=BROKER_$id
  vm=${!variable-}
  if [ -n "$vm" ] && [[ $vm != "${REGION-}"-* ]]; then
    fault "BROKER_$id=$vm is not in REGION=${REGION-}; a port mapping leads to VMs of its own region"
  fi
  case $seen in
    *" $vm "*) [ -z "$vm" ] || fault "BROKER_$id=$vm is the VM of another broker, too" ;;
  esac
  seen="$seen$vm "
done
command -v gcloud >/dev/null || fault "there is no gcloud here; install the Google Cloud CLI"
stop_on_faults

ask() { gcloud compute "$@" --project="$PROJECT"; }
change() {
  local word
  printf '+ gcloud compute' >&2
  for word in "$@" "--project=$PROJECT"; do
    if [[ $word =~ ^[A-Za-z0-9._/:=,-]+$ ]]; then printf ' %s' "$word" >&2; else printf ' %q' "$word" >&2; fi
  done
  printf '\n' >&2
  if [ "${DRY_RUN-}" != yes ]; then
    gcloud compute "$@" --project="$PROJECT" --quiet
  fi
}
# A list is empty where there is no such thing. It fails where that cannot be seen; describe would fail in both cases.
regional() { ask "$@" list --regions="$REGION" --filter="name=$name_of" --format='value(name)'; }

# What stands already is asked for before the first change, so a refusal changes nothing.
name_of=$name-psc
have_subnet=$(regional networks subnets)
have_firewall=$(ask firewall-rules list --filter="name=$name_of" --format='value(name)')
name_of=$name
have_group=$(regional network-endpoint-groups)
have_backend=$(regional backend-services)
have_rule=$(regional forwarding-rules)
have_attachment=$(regional service-attachments)

if [ -n "$have_subnet" ]; then
  range=$(ask networks subnets describe "$name-psc" --region="$REGION" --format='value(ipCidrRange)')
  [ "$range" = "$NAT_RANGE" ] ||
    fault "the subnet $name-psc has the range $range; set NAT_RANGE to it, since a range cannot be changed here"
fi
if [ -n "$have_rule" ]; then
  leads_to=$(ask forwarding-rules describe "$name" --region="$REGION" --format='value(backendService)')
  [ "${leads_to##*/}" = "$name" ] ||
    fault "the forwarding rule $name leads to ${leads_to:-nothing}, not to the backend service $name; render with another --name"
fi
accept=$(printf '%s' "$CONSUMERS" | tr -s ' ,' ',')
if [ -n "$have_attachment" ]; then
  accepted=$(ask service-attachments describe "$name" --region="$REGION" --flatten='consumerAcceptLists[]' \
    --format='value(consumerAcceptLists.projectIdOrNum)')
  for customer in $accepted; do
    case ",$accept" in
      *",$customer="*) ;;
      *)
        [ "${PRUNE-}" = yes ] ||
          fault "$customer may connect today and is not in CONSUMERS, so its connections would end; add it, or set PRUNE=yes"
        ;;
    esac
  done
fi
endpoints=
if [ -n "$have_group" ]; then
  # The instance is a name or a URL, as it was given.
  endpoints=$(ask network-endpoint-groups list-network-endpoints "$name" --region="$REGION" \
    --format='value[separator=" "](networkEndpoint.clientDestinationPort,networkEndpoint.instance,networkEndpoint.port)')
fi
stop_on_faults

[ -n "$have_subnet" ] || change networks subnets create "$name-psc" --region="$REGION" --network="$NETWORK" \
  --range="$NAT_RANGE" --purpose=PRIVATE_SERVICE_CONNECT
[ -n "$have_group" ] || change network-endpoint-groups create "$name" --region="$REGION" --network="$NETWORK" \
  --subnet="$SUBNET" --network-endpoint-type=GCE_VM_IP_PORTMAP

# Ports that lead elsewhere are removed first: a port leads to one VM only.
wanted=' '
missing=()
stale=()
for entry in "${ports[@]}"; do
  read -r port id bind <<<"$entry"
  variable=BROKER_$id
  vm=${!variable}
  wanted="$wanted$port "
  instance=projects/$PROJECT/zones/${vm%%/*}/instances/${vm##*/}
  found=no
  while read -r have_port have_instance have_bind; do
    [ "$have_port" = "$port" ] || continue
    if [ "$have_bind" = "$bind" ] && [[ /$have_instance == *"/zones/${vm%%/*}/instances/${vm##*/}" ||
      $have_instance == "${vm##*/}" ]]; then
      found=yes
    else
      stale+=("--remove-endpoint=client-destination-port=$port,instance=$have_instance,port=$have_bind")
    fi
  done <<<"$endpoints"
  [ "$found" = yes ] || missing+=("--add-endpoint=client-destination-port=$port,instance=$instance,port=$bind")
done
while read -r have_port have_instance have_bind; do
  if [ -z "$have_port" ] || [[ $wanted == *" $have_port "* ]]; then
    continue
  fi
  if [ "${PRUNE-}" = yes ]; then
    stale+=("--remove-endpoint=client-destination-port=$have_port,instance=$have_instance,port=$have_bind")
  else
    printf 'kpls.sh: port %s leads to %s:%s, and this manifest does not have it; PRUNE=yes removes it\n' \
      "$have_port" "$have_instance" "$have_bind" >&2
  fi
done <<<"$endpoints"
change_endpoints() { # Google Cloud takes at most 500 in one request
  while [ $# -gt 0 ]; do
    change network-endpoint-groups update "$name" --region="$REGION" "${@:1:400}"
    shift $(($# < 400 ? $# : 400))
  done
}
change_endpoints ${stale[@]+"${stale[@]}"}
change_endpoints ${missing[@]+"${missing[@]}"}

# Without a health check: port mapping takes none.
[ -n "$have_backend" ] || change backend-services create "$name" --region="$REGION" --network="$NETWORK" \
  --load-balancing-scheme=internal --protocol=TCP
backends=
if [ -n "$have_backend" ]; then
  backends=$(ask backend-services describe "$name" --region="$REGION" --flatten='backends[]' --format='value(backends.group)')
fi
case "$backends " in
  *"/networkEndpointGroups/$name"[[:space:]]*) ;;
  *) change backend-services add-backend "$name" --region="$REGION" --network-endpoint-group="$name" \
    --network-endpoint-group-region="$REGION" ;;
esac

[ -n "$have_rule" ] || change forwarding-rules create "$name" --region="$REGION" --network="$NETWORK" --subnet="$SUBNET" \
  --load-balancing-scheme=internal --ip-protocol=TCP --ports=all --backend-service="$name" \
  --backend-service-region="$REGION"

# What is let in: the brokers' own ports, from the range that customers' connections come from.
allow=
for bind in "${bind_ports[@]}"; do
  allow="${allow:+$allow,}tcp:$bind"
done
if [ -n "$have_firewall" ]; then
  change firewall-rules update "$name-psc" --allow="$allow" --source-ranges="$NAT_RANGE" --target-tags="$BROKER_TAG"
else
  change firewall-rules create "$name-psc" --network="$NETWORK" --direction=INGRESS --allow="$allow" \
    --source-ranges="$NAT_RANGE" --target-tags="$BROKER_TAG"
fi

# The PROXY protocol stays off: Kafka does not read it. With reconciliation, a customer that is removed is cut off.
if [ -n "$have_attachment" ]; then
  change service-attachments update "$name" --region="$REGION" --connection-preference=ACCEPT_MANUAL \
    --consumer-accept-list="$accept" --no-enable-proxy-protocol --reconcile-connections
else
  change service-attachments create "$name" --region="$REGION" \
    --target-service="projects/$PROJECT/regions/$REGION/forwardingRules/$name" --nat-subnets="$name-psc" \
    --connection-preference=ACCEPT_MANUAL --consumer-accept-list="$accept" --reconcile-connections
fi

printf 'Service Attachment: projects/%s/regions/%s/serviceAttachments/%s\n' "$PROJECT" "$REGION" "$name"
for entry in "${bootstrap[@]}"; do
  printf 'Bootstrap Ports of %s: %s\n' "${entry%% *}" "${entry#* }"
done
