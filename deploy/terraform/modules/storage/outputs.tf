output "bucket" {
  description = "Name of the bucket, once it is there."
  value       = aws_s3_bucket.runs.id
}

output "kms_key_arn" {
  description = "Key that encrypts the bucket; empty: S3's own."
  value       = var.kms == "none" ? "" : local.key_arn
}
