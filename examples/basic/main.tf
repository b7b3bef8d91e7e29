# One unit, declared and looked at.

terraform {
  required_providers {
    opentaco = {
      source = "digger/opentaco"
    }
  }
}

# OPENTACO_ENDPOINT says it, too; the token comes from OPENTACO_TOKEN or from `taco login`.
provider "opentaco" {
  endpoint = "http://localhost:8080"
}

resource "opentaco_unit" "shop" {
  id = "example/shop"

  labels = {
    environment = "production"
    team        = "infrastructure"
  }
}

data "opentaco_unit" "shop" {
  id = opentaco_unit.shop.id
}

output "unit" {
  value = {
    id      = data.opentaco_unit.shop.id
    size    = data.opentaco_unit.shop.size
    locked  = data.opentaco_unit.shop.locked
    updated = data.opentaco_unit.shop.updated
  }
}
