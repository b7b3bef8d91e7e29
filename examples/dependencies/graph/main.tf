# The graph: its state is the unit in which the service looks for dependencies, and notes which values were taken.

terraform {
  required_providers {
    opentaco = {
      source = "digger/opentaco"
    }
  }

  backend "http" {
    address        = "http://localhost:8080/v1/backend/__opentaco_system"
    lock_address   = "http://localhost:8080/v1/backend/__opentaco_system"
    unlock_address = "http://localhost:8080/v1/backend/__opentaco_system"
  }
}

provider "opentaco" {
  endpoint = "http://localhost:8080"
}

# A -> B. The input is called like the output unless it is named.
resource "opentaco_dependency" "app_on_network" {
  from_unit_id = "example/network"
  from_output  = "vpc_id"
  to_unit_id   = "example/app"
}

# B -> C
resource "opentaco_dependency" "dns_on_app" {
  from_unit_id = "example/app"
  from_output  = "address"
  to_unit_id   = "example/dns"
  to_input     = "target"
}
