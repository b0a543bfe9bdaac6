output "role_arns" {
  description = "ARN of each role, once it and its policy are there, by what it is for."
  value       = { for key, role in aws_iam_role.role : key => role.arn }
  depends_on  = [aws_iam_role_policy.role, aws_iam_role_policy.kms]
}

output "role_names" {
  description = "Name of each role, by what it is for."
  value       = { for key, role in aws_iam_role.role : key => role.name }
}

output "role_ids" {
  description = "AWS's own id of each role: something that is known only once it is there."
  value       = { for key, role in aws_iam_role.role : key => role.unique_id }
}

output "planned_role_arns" {
  description = "The same ARNs put together from names, so that a plan shows them; they wait for nothing."
  value       = { for key in keys(local.statements) : key => "${local.iam}:role/${var.name}-${key}" }
}
