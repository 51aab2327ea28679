output "environment" {
  description = "What a gateway needs in its environment, but for credentials: MOORAGE_STORE, AWS_REGION, and AWS_ENDPOINT_URL_S3 if endpoint_url is set."
  value = tomap({
    for name, value in {
      MOORAGE_STORE       = "s3://${aws_s3_bucket.this.id}${var.prefix == "" ? "" : "/${var.prefix}"}"
      AWS_REGION          = aws_s3_bucket.this.region
      AWS_ENDPOINT_URL_S3 = var.endpoint_url
    } : name => value if value != null
  })
}

output "secret_environment" {
  description = "The user's AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty without create_user."
  sensitive   = true
  value = merge([for key in aws_iam_access_key.this : {
    AWS_ACCESS_KEY_ID     = key.id
    AWS_SECRET_ACCESS_KEY = key.secret
  }]...)
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "kms_key_arn" {
  description = "ARN of the KMS key that the bucket is encrypted with; null without one."
  value       = local.kms_key_arn
}

output "policy_arn" {
  description = "ARN of the gateway's policy, to attach to identities that exist."
  value       = aws_iam_policy.this.arn
}

output "policy_json" {
  description = "The gateway's policy."
  value       = module.policy.json
}

output "role_arn" {
  description = "ARN of the role for workloads; null without any."
  value       = one(aws_iam_role.this[*].arn)
}

output "role_name" {
  description = "Name of the role for workloads; null without any."
  value       = one(aws_iam_role.this[*].name)
}

output "instance_profile_name" {
  description = "Name of the instance profile with the role; null without workloads.ec2."
  value       = one(aws_iam_instance_profile.this[*].name)
}

output "user_name" {
  description = "Name of the user; null without create_user."
  value       = one(aws_iam_user.this[*].name)
}
