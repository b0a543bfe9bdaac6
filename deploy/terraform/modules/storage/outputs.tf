output "bucket" {
  description = "Name of the bucket, once it is there."
  value       = var.bucket
  depends_on  = [aws_s3_bucket.runs]
}

output "kms_key_arn" {
  description = "Key that encrypts the bucket; empty: S3's own."
  value       = var.kms == "none" ? "" : local.key_arn
}
