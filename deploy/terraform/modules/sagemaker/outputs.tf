output "endpoints" {
  description = "Names of the endpoints that are there, by key."
  value = merge(
    { for key, item in aws_sagemaker_endpoint.endpoint : key => item.name },
    { for key, item in aws_cloudformation_stack.component : key => item.name },
  )
}
