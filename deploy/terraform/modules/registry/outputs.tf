output "repository_urls" {
  description = "Where each image is pushed to and pulled from, by image."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}
