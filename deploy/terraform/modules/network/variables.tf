variable "name" {
  description = "What names begin with; also the value of karpenter.sh/discovery."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of the endpoints' service names."
  type        = string
  nullable    = false
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.cidr, 4, 15)) && tonumber(split("/", var.cidr)[1]) <= 24
    error_message = "cidr is an IPv4 range of /24 or larger, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, two or more: EKS asks for two."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 6 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Two to six different zones."
  }
}

variable "nat_enabled" {
  description = "Whether private subnets reach the internet through a NAT gateway, which bills by the hour."
  type        = bool
  nullable    = false
}

variable "interface_endpoints" {
  description = "AWS services reached by an interface endpoint, each of which bills by the hour and zone."
  type        = set(string)
  nullable    = false
}
