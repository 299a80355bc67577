# The network's side of a Kafka cluster on Google Cloud: a port mapping endpoint group, the forwarding rule before it,
# and a service attachment. It is the same for every cluster: what the manifest says is in kpls.auto.tfvars.json, what
# only Google Cloud knows in terraform.tfvars.

terraform {
  required_version = ">= 1.9" # a rule of one variable asks for another
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
    # Endpoints of a port mapping are not in the other one.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.0"
    }
  }
}

variable "kpls" {
  description = "What the manifest says, as kpls-agent writes it."
  type = object({
    cluster         = string
    manifest_sha256 = string
    name            = string
    brokers         = list(string)
    bind_ports      = list(number)
    bootstrap_ports = map(string)
    endpoints = map(object({
      listener  = string
      broker    = string
      port      = number
      bind_port = number
    }))
  })
}

variable "project" {
  description = "The project of the brokers."
  type        = string
}

variable "region" {
  description = "The region of the brokers, such as us-west1."
  type        = string
}

variable "network" {
  description = "The VPC network of the brokers."
  type        = string
}

variable "subnetwork" {
  description = "The subnet in which each broker's VM has its first network interface."
  type        = string
}

variable "nat_cidr" {
  description = "Range of the new subnet for Private Service Connect: one address for each customer's endpoint."
  type        = string
}

variable "consumer_projects" {
  description = "Who may connect: projects, with how many connections each may have."
  type        = map(number)
}

variable "broker_tags" {
  description = "Network tags of the brokers' VMs, for the firewall rule."
  type        = list(string)
  validation {
    condition     = length(var.broker_tags) > 0
    error_message = "broker_tags needs at least one tag: without one the rule would let customers in on every VM."
  }
}

variable "brokers" {
  description = "The VM of each broker and the address of its first network interface, by node.id."
  type        = map(object({ instance = string, ip_address = string }))
  validation {
    condition     = toset(keys(var.brokers)) == toset(var.kpls.brokers)
    error_message = "brokers must have the brokers of the manifest and no others: ${join(", ", var.kpls.brokers)}."
  }
  validation {
    condition     = length(distinct([for b in var.brokers : b.instance])) == length(var.brokers)
    error_message = "Two brokers have the same VM."
  }
}

resource "google_compute_subnetwork" "psc" {
  project       = var.project
  region        = var.region
  name          = "${var.kpls.name}-psc"
  network       = var.network
  ip_cidr_range = var.nat_cidr
  purpose       = "PRIVATE_SERVICE_CONNECT"
}

resource "google_compute_region_network_endpoint_group" "kpls" {
  provider              = google-beta
  project               = var.project
  region                = var.region
  name                  = var.kpls.name
  network               = var.network
  subnetwork            = var.subnetwork
  network_endpoint_type = "GCE_VM_IP_PORTMAP"
}

resource "google_compute_region_network_endpoint" "kpls" {
  provider                      = google-beta
  for_each                      = var.kpls.endpoints
  project                       = var.project
  region                        = var.region
  region_network_endpoint_group = google_compute_region_network_endpoint_group.kpls.name
  instance                      = var.brokers[each.value.broker].instance
  # The provider knows an endpoint by address and port, and all brokers have the same port.
  ip_address              = var.brokers[each.value.broker].ip_address
  port                    = each.value.bind_port
  client_destination_port = each.value.port
}

# Without a health check: port mapping takes none.
resource "google_compute_region_backend_service" "kpls" {
  project               = var.project
  region                = var.region
  name                  = var.kpls.name
  network               = var.network
  protocol              = "TCP"
  load_balancing_scheme = "INTERNAL"

  backend {
    group          = google_compute_region_network_endpoint_group.kpls.id
    balancing_mode = "CONNECTION"
  }
}

resource "google_compute_forwarding_rule" "kpls" {
  project               = var.project
  region                = var.region
  name                  = var.kpls.name
  load_balancing_scheme = "INTERNAL"
  ip_protocol           = "TCP"
  all_ports             = true
  network               = var.network
  subnetwork            = var.subnetwork
  backend_service       = google_compute_region_backend_service.kpls.id

  labels = { "kpls-manifest" = substr(var.kpls.manifest_sha256, 0, 63) } # a label has at most 63 characters
}

resource "google_compute_firewall" "psc" {
  project       = var.project
  name          = "${var.kpls.name}-psc"
  network       = var.network
  direction     = "INGRESS"
  source_ranges = [var.nat_cidr]
  target_tags   = var.broker_tags

  allow {
    protocol = "tcp"
    ports    = [for p in var.kpls.bind_ports : tostring(p)]
  }
}

resource "google_compute_service_attachment" "kpls" {
  project               = var.project
  region                = var.region
  name                  = var.kpls.name
  target_service        = google_compute_forwarding_rule.kpls.id
  nat_subnets           = [google_compute_subnetwork.psc.id]
  connection_preference = "ACCEPT_MANUAL"
  enable_proxy_protocol = false # Kafka does not read it
  # A customer that is removed from the list is cut off.
  reconcile_connections = true

  dynamic "consumer_accept_lists" {
    for_each = var.consumer_projects
    content {
      project_id_or_num = consumer_accept_lists.key
      connection_limit  = consumer_accept_lists.value
    }
  }

  depends_on = [google_compute_region_network_endpoint.kpls, google_compute_firewall.psc]
}

output "console" {
  description = "What is typed into the customer's form, by listener."
  value = { for name, ports in var.kpls.bootstrap_ports : name => {
    "Service Attachment" = google_compute_service_attachment.kpls.id
    "Bootstrap Ports"    = ports
  } }
}
