# B: takes `vpc_id` of A from its state, as any configuration can.

terraform {
  backend "http" {
    address        = "http://localhost:8080/v1/backend/example/app"
    lock_address   = "http://localhost:8080/v1/backend/example/app"
    unlock_address = "http://localhost:8080/v1/backend/example/app"
  }
}

# TF_HTTP_USERNAME and TF_HTTP_PASSWORD hold for this one as well. It needs the right to read the whole state.
data "terraform_remote_state" "network" {
  backend = "http"

  config = {
    address = "http://localhost:8080/v1/backend/example/network"
  }
}

resource "terraform_data" "server" {
  input = "server in ${data.terraform_remote_state.network.outputs.vpc_id}"
}

output "address" {
  value = "10.0.0.1 (${terraform_data.server.output})"
}
