# The module with all its options, on LocalStack:
#
#   docker run --rm -p 127.0.0.1:4566:4566 localstack/localstack:4.14.0
#   terraform init && terraform apply

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "endpoint" {
  description = "Where LocalStack listens."
  type        = string
  default     = "http://localhost:4566"
}

variable "bucket" {
  description = "Name of the registry's bucket; those of its logs and its copies begin with it too."
  type        = string
  default     = "moorage"
}

variable "force_destroy" {
  description = "Let destroy delete the bucket with its images."
  type        = bool
  default     = false
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true

  endpoints {
    iam = var.endpoint
    kms = var.endpoint
    s3  = var.endpoint
    sts = var.endpoint
  }
}

module "registry" {
  source = "../.."

  bucket              = var.bucket
  prefix              = "registry"
  force_destroy       = var.force_destroy
  create_kms_key      = true
  intelligent_tiering = true
  access_log          = { bucket = aws_s3_bucket.logs.id, prefix = "moorage/" }
  replication         = { bucket_arn = aws_s3_bucket.copies.arn, kms_key_arn = aws_kms_key.copies.arn }
  workloads           = { ec2 = true, ecs = true }
  create_user         = true
  endpoint_url        = var.endpoint
  tags                = { service = "moorage" }

  depends_on = [aws_s3_bucket_policy.logs, aws_s3_bucket_versioning.copies]
}

resource "aws_s3_bucket" "logs" {
  bucket        = "${var.bucket}-logs"
  force_destroy = true
}

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html#grant-log-delivery-permissions-general
resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.logs.arn}/moorage/*"
      Condition = { ArnLike = { "aws:SourceArn" = "arn:aws:s3:::${var.bucket}" } }
    }]
  })
}

resource "aws_s3_bucket" "copies" {
  bucket        = "${var.bucket}-copies"
  force_destroy = true
}

resource "aws_s3_bucket_versioning" "copies" {
  bucket = aws_s3_bucket.copies.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_kms_key" "copies" {
  description             = "Encrypts the copies of ${var.bucket}"
  deletion_window_in_days = 7
}

output "environment" {
  description = "The gateway's environment, but for credentials."
  value       = module.registry.environment
}

output "secret_environment" {
  description = "The gateway's credentials: terraform output -json secret_environment"
  value       = module.registry.secret_environment
  sensitive   = true
}
