# A: what everything stands on. Nothing here is real, so it can be applied anywhere.

terraform {
  backend "http" {
    address        = "http://localhost:8080/v1/backend/example/network"
    lock_address   = "http://localhost:8080/v1/backend/example/network"
    unlock_address = "http://localhost:8080/v1/backend/example/network"
  }
}

variable "vpc" {
  default = "vpc-1"
}

variable "team" {
  default = "infrastructure"
}

resource "terraform_data" "vpc" {
  input = var.vpc
}

output "vpc_id" {
  value = terraform_data.vpc.output
}

# Nobody takes this one, so nobody has to be applied when it changes.
output "team" {
  value = var.team
}
