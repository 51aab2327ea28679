# A bucket on MinIO, and the policy of the gateway's user; README.md says why it is not the whole module.

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
  description = "Where MinIO listens, as Terraform and the gateway reach it."
  type        = string
  default     = "http://localhost:9000"
}

variable "bucket" {
  description = "Name of the registry's bucket."
  type        = string
  default     = "moorage"
}

variable "force_destroy" {
  description = "Let destroy delete the bucket with its images."
  type        = bool
  default     = false
}

# Credentials of an administrator come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
provider "aws" {
  region                      = "us-east-1"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  endpoints {
    s3 = var.endpoint
  }
}

resource "aws_s3_bucket" "registry" {
  bucket        = var.bucket
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_versioning" "registry" {
  bucket = aws_s3_bucket.registry.id

  versioning_configuration {
    status = "Enabled"
  }
}

module "policy" {
  source = "../../modules/policy"

  bucket_arn = aws_s3_bucket.registry.arn
}

output "environment" {
  description = "The gateway's environment, but for credentials."
  value = {
    MOORAGE_STORE       = "s3://${aws_s3_bucket.registry.id}"
    AWS_REGION          = "us-east-1"
    AWS_ENDPOINT_URL_S3 = var.endpoint
  }
}

output "policy_json" {
  description = "The policy of the gateway's user, for mc admin policy create."
  value       = module.policy.json
}
