# What a moorage gateway and its maintenance ask of a bucket, and nothing else: tests/terraform/test_permissions.py takes each action away,
# and finds that something breaks. It needs no provider, so that it serves other stores too.

terraform {
  required_version = ">= 1.9"
}

variable "bucket_arn" {
  description = "ARN of the bucket."
  type        = string
}

variable "prefix" {
  description = "The registry's prefix in the bucket, without a slash at its end; empty for the whole bucket."
  type        = string
  default     = ""
  nullable    = false
}

variable "use_kms" {
  description = "Whether the bucket is encrypted with the key kms_key_arn, which need not be known yet."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that the bucket is encrypted with, if use_kms is set."
  type        = string
  default     = null
}

locals {
  statements = concat(
    [
      {
        # Not limited to the prefix: a request for a missing key names none, and would be answered 403 rather than 404.
        Sid      = "Bucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [var.bucket_arn]
      },
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["${var.bucket_arn}/${var.prefix == "" ? "" : "${var.prefix}/"}*"]
      },
    ],
    [for _ in range(var.use_kms ? 1 : 0) : {
      Sid      = "Key"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = [var.kms_key_arn]
    }],
  )
}

output "json" {
  description = "The policy, as IAM, MinIO and others that speak its language take it."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}
