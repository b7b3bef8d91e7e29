# C: takes `address` of B through the provider, which needs the right to read outputs and no more.

terraform {
  required_providers {
    opentaco = {
      source = "digger/opentaco"
    }
  }

  backend "http" {
    address        = "http://localhost:8080/v1/backend/example/dns"
    lock_address   = "http://localhost:8080/v1/backend/example/dns"
    unlock_address = "http://localhost:8080/v1/backend/example/dns"
  }
}

provider "opentaco" {
  endpoint = "http://localhost:8080"
}

data "opentaco_outputs" "app" {
  unit_id = "example/app"
}

resource "terraform_data" "record" {
  input = "app.example.com -> ${data.opentaco_outputs.app.values.address}"
}

output "record" {
  value = terraform_data.record.output
}
