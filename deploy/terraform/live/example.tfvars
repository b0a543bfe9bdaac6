# A first stack: bucket, registry, roles, log groups, alarms and a budget. Nothing here bills by the hour.
# terraform apply -var-file=example.tfvars

account_id   = "000000000000"
bucket       = "my-company-simcloud"
region       = "us-east-1"
alert_emails = ["team@example.com"]
budget_usd   = 100

# Endpoints. <registry> is the part of the output repository_urls before the first slash.
#
# endpoints = {
#   # Nothing while idle, a slow first answer, no GPU.
#   nanodet = {
#     mode  = "serverless"
#     image = "<registry>/simcloud/simcloud-model-container:0.1.0"
#   }
#   # Nothing while idle, minutes until the first answer, any instance.
#   lite0 = {
#     mode          = "component"
#     image         = "<registry>/simcloud/simcloud-model-container:0.1.0"
#     instance_type = "ml.c6i.xlarge"
#     instances_min = 0
#   }
# }

# A cluster. NAT gateway, control plane and two nodes bill by the hour from the first on.
#
# network_enabled = true
# nat_enabled     = true
# cluster_enabled = true
# cluster_admins  = ["arn:aws:iam::000000000000:role/platform"]
