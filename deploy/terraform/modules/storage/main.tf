locals {
  writers = [for role in ["uploader", "run"] : "arn:${var.partition}:iam::${var.account_id}:role/${var.role_prefix}-${role}"]
  # deploy/s3's document names one writer; here the roles of runs write as well.
  document = replace(
    replace(
      replace(
        replace(
          file(var.policy_file),
          "\"arn:aws:iam::ACCOUNT:role/simcloud-uploader\"", jsonencode(local.writers)
        ),
        "arn:aws:", "arn:${var.partition}:"
      ),
      "ACCOUNT", var.account_id
    ),
    "BUCKET", var.bucket
  )
  # What is allowed is each role's own policy (modules/identity), which has prefixes: an Allow here would
  # widen it to the whole bucket.
  denials   = [for statement in jsondecode(local.document).Statement : statement if statement.Effect == "Deny"]
  lifecycle = { for rule in jsondecode(file(var.lifecycle_file)).Rules : rule.ID => rule }
  key_arn   = var.kms == "create" ? aws_kms_key.bucket[0].arn : var.kms_key_arn
}

resource "aws_kms_key" "bucket" {
  count                   = var.kms == "create" ? 1 : 0
  description             = "Encrypts ${var.bucket}; the account's roles use it as their policies say"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  # AWS's own default, said aloud: the account's policies decide who may use it (modules/identity).
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["kms:*"]
      Principal = { AWS = "arn:${var.partition}:iam::${var.account_id}:root" }
      Resource  = ["*"]
    }]
  })

  lifecycle {
    # Without its key every run is lost.
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "runs" {
  bucket        = var.bucket
  force_destroy = false

  lifecycle {
    prevent_destroy = true
  }
}

# Off for a reason: runs are written once (the policy below denies anything else), so there are no
# versions worth keeping, and a deleted run would go on being paid for.
resource "aws_s3_bucket_versioning" "runs" {
  bucket = aws_s3_bucket.runs.id

  versioning_configuration {
    status = "Disabled"
  }
}

resource "aws_s3_bucket_ownership_controls" "runs" {
  bucket = aws_s3_bucket.runs.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "runs" {
  bucket                  = aws_s3_bucket.runs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "runs" {
  bucket = aws_s3_bucket.runs.id

  rule {
    bucket_key_enabled = var.kms != "none"

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms == "none" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms == "none" ? null : local.key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "runs" {
  bucket = aws_s3_bucket.runs.id

  dynamic "rule" {
    for_each = local.lifecycle

    content {
      id     = rule.key
      status = rule.value.Status

      filter {
        prefix = rule.value.Filter.Prefix
      }

      dynamic "abort_incomplete_multipart_upload" {
        for_each = try([rule.value.AbortIncompleteMultipartUpload], [])

        content {
          days_after_initiation = abort_incomplete_multipart_upload.value.DaysAfterInitiation
        }
      }

      dynamic "noncurrent_version_expiration" {
        for_each = try([rule.value.NoncurrentVersionExpiration], [])

        content {
          noncurrent_days = noncurrent_version_expiration.value.NoncurrentDays
        }
      }

      dynamic "expiration" {
        for_each = try([rule.value.Expiration], [])

        content {
          expired_object_delete_marker = try(expiration.value.ExpiredObjectDeleteMarker, null)
        }
      }
    }
  }

  dynamic "rule" {
    for_each = var.expiring_prefixes

    content {
      id     = "simcloud-expire-${replace(rule.key, "/", "-")}"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "runs" {
  count  = length(var.origins) > 0 ? 1 : 0
  bucket = aws_s3_bucket.runs.id

  cors_rule {
    allowed_origins = var.origins
    allowed_methods = ["GET", "HEAD", "PUT"]
    allowed_headers = ["content-type", "if-none-match", "x-amz-checksum-crc64nvme"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3600
  }
}

# Orders: the roles first, then the policy that names them. A role that was made anew has another id, and
# S3 knows the old one's: the policy is then written again.
resource "terraform_data" "writers" {
  input = var.writer_ids
}

resource "aws_s3_bucket_policy" "runs" {
  bucket = aws_s3_bucket.runs.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.denials })

  depends_on = [aws_s3_bucket_public_access_block.runs]

  lifecycle {
    replace_triggered_by = [terraform_data.writers]
  }
}
