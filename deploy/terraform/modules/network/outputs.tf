output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.main.id
}

output "private_subnet_ids" {
  description = "Private subnets, where nodes are."
  value       = [for zone in var.zones : aws_subnet.private[zone].id]
}
