# What the module makes of its variables, with a provider that creates nothing: terraform test

mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = {
      arn    = "arn:aws:s3:::registry"
      id     = "registry"
      region = "eu-central-1"
    }
  }

  mock_resource "aws_kms_key" {
    defaults = {
      arn    = "arn:aws:kms:eu-central-1:111122223333:key/created"
      key_id = "created"
    }
  }

  mock_resource "aws_iam_policy" {
    defaults = {
      arn = "arn:aws:iam::111122223333:policy/registry"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111122223333:role/registry"
    }
  }

  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "111122223333"
    }
  }
}

variables {
  bucket = "registry"
}

run "defaults" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "The bucket can be made public."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "Objects can have other owners, and ACLs."
  }

  assert {
    condition     = !aws_s3_bucket.this.force_destroy
    error_message = "destroy deletes images without being told to."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "Without a key, S3 encrypts with its own."
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "Versions are kept."
  }

  assert {
    condition = [for each in jsondecode(aws_s3_bucket_policy.this.policy).Statement : [each.Effect, each.Principal, each.Action, each.Condition]] == [
      ["Deny", { AWS = "*" }, "s3:*", { Bool = { "aws:SecureTransport" = "false" } }],
      ["Deny", { AWS = "*" }, "s3:*", { NumericLessThan = { "s3:TlsVersion" = "1.2" } }],
    ]
    error_message = "Requests without TLS, or with an old one, are not refused."
  }

  assert {
    condition     = [for each in aws_s3_bucket_lifecycle_configuration.this.rule : each.id] == ["expire-noncurrent-versions", "abort-incomplete-uploads"]
    error_message = "Versions expire, broken uploads are aborted, and nothing else happens to objects by itself."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].noncurrent_version_expiration[0].noncurrent_days == 7 && aws_s3_bucket_lifecycle_configuration.this.rule[0].expiration[0].expired_object_delete_marker
    error_message = "Noncurrent versions are not removed after a week, or delete markers stay."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[1].abort_incomplete_multipart_upload[0].days_after_initiation == 7
    error_message = "Uploads that were broken off are not aborted after a week."
  }

  assert {
    condition = jsondecode(output.policy_json).Statement == [
      {
        Sid      = "Bucket"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = ["arn:aws:s3:::registry"]
      },
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["arn:aws:s3:::registry/*"]
      },
    ]
    error_message = "The policy is another one: ${output.policy_json}"
  }

  assert {
    condition     = output.environment == tomap({ MOORAGE_STORE = "s3://registry", AWS_REGION = "eu-central-1" }) && length(output.secret_environment) == 0
    error_message = "The environment is another one: ${jsonencode(output.environment)}"
  }

  assert {
    condition     = length(aws_iam_role.this) + length(aws_iam_user.this) + length(aws_kms_key.this) + length(aws_s3_bucket_logging.this) + length(aws_s3_bucket_replication_configuration.this) + length(aws_iam_role.replication) == 0
    error_message = "There is something that nobody has asked for."
  }
}

run "everything" {
  variables {
    prefix                  = "team/registry"
    name                    = "moorage"
    force_destroy           = true
    create_kms_key          = true
    intelligent_tiering     = true
    noncurrent_version_days = 30
    access_log              = { bucket = "logs", prefix = "moorage/" }
    replication = {
      bucket_arn    = "arn:aws:s3:::copies"
      account_id    = "444455556666"
      kms_key_arn   = "arn:aws:kms:eu-west-1:444455556666:key/copies"
      storage_class = "GLACIER_IR"
    }
    workloads = {
      ec2          = true
      ecs          = true
      pod_identity = [{ cluster_arn = "arn:aws:eks:eu-central-1:111122223333:cluster/c", namespace = "registry", service_account = "moorage" }]
      irsa         = [{ oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC", namespace = "registry", service_account = "moorage" }]
    }
    create_user              = true
    permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
    endpoint_url             = "http://localhost:4566"
    tags                     = { service = "moorage" }
  }

  assert {
    condition     = aws_s3_bucket.this.force_destroy
    error_message = "destroy was told to delete images."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.this[0].arn && one(aws_s3_bucket_server_side_encryption_configuration.this.rule).bucket_key_enabled
    error_message = "The bucket is not encrypted with the key that was created."
  }

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation
    error_message = "The key is not rotated."
  }

  assert {
    condition = jsondecode(output.policy_json).Statement[1].Resource == ["arn:aws:s3:::registry/team/registry/*"] && jsondecode(output.policy_json).Statement[2] == {
      Sid      = "Key"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = ["arn:aws:kms:eu-central-1:111122223333:key/created"]
    }
    error_message = "The policy is another one: ${output.policy_json}"
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[2].filter[0].and[0].prefix == "team/registry/data/" && one(aws_s3_bucket_lifecycle_configuration.this.rule[2].transition).storage_class == "INTELLIGENT_TIERING"
    error_message = "Layers are not tiered, or something else is."
  }

  assert {
    condition     = aws_s3_bucket_logging.this[0].target_bucket == "logs" && aws_s3_bucket_logging.this[0].target_prefix == "moorage/"
    error_message = "Access is not logged."
  }

  assert {
    condition     = aws_s3_bucket_replication_configuration.this[0].rule[0].destination[0].encryption_configuration[0].replica_kms_key_id == "arn:aws:kms:eu-west-1:444455556666:key/copies" && aws_s3_bucket_replication_configuration.this[0].rule[0].destination[0].access_control_translation[0].owner == "Destination" && aws_s3_bucket_replication_configuration.this[0].rule[0].destination[0].storage_class == "GLACIER_IR"
    error_message = "Copies are not encrypted with the other key, owned by the other account, or stored as told."
  }

  assert {
    condition = flatten([for each in jsondecode(aws_iam_role_policy.replication[0].policy).Statement : [for action in each.Action : "${action} ${each.Resource[0]}"]]) == [
      "s3:GetReplicationConfiguration arn:aws:s3:::registry",
      "s3:ListBucket arn:aws:s3:::registry",
      "s3:GetObjectVersionForReplication arn:aws:s3:::registry/*",
      "s3:GetObjectVersionAcl arn:aws:s3:::registry/*",
      "s3:GetObjectVersionTagging arn:aws:s3:::registry/*",
      "s3:ReplicateObject arn:aws:s3:::copies/*",
      "s3:ReplicateDelete arn:aws:s3:::copies/*",
      "s3:ReplicateTags arn:aws:s3:::copies/*",
      "s3:ObjectOwnerOverrideToBucketOwner arn:aws:s3:::copies/*",
      "kms:Decrypt arn:aws:kms:eu-central-1:111122223333:key/created",
      "kms:Encrypt arn:aws:kms:eu-west-1:444455556666:key/copies",
    ]
    error_message = "S3 may do something else to replicate: ${aws_iam_role_policy.replication[0].policy}"
  }

  assert {
    condition = jsondecode(aws_iam_role.this[0].assume_role_policy).Statement == [
      {
        Sid       = "EC2"
        Effect    = "Allow"
        Action    = ["sts:AssumeRole"]
        Principal = { Service = "ec2.amazonaws.com" }
        Condition = {}
      },
      {
        Sid       = "ECS"
        Effect    = "Allow"
        Action    = ["sts:AssumeRole"]
        Principal = { Service = "ecs-tasks.amazonaws.com" }
        Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
      },
      {
        Sid       = "PodIdentity0"
        Effect    = "Allow"
        Action    = ["sts:AssumeRole", "sts:TagSession"]
        Principal = { Service = "pods.eks.amazonaws.com" }
        Condition = {
          StringEquals = {
            "aws:RequestTag/eks-cluster-arn"            = "arn:aws:eks:eu-central-1:111122223333:cluster/c"
            "aws:RequestTag/kubernetes-namespace"       = "registry"
            "aws:RequestTag/kubernetes-service-account" = "moorage"
          }
        }
      },
      {
        Sid       = "IRSA0"
        Effect    = "Allow"
        Action    = ["sts:AssumeRoleWithWebIdentity"]
        Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC" }
        Condition = {
          StringEquals = {
            "oidc.eks.eu-central-1.amazonaws.com/id/ABC:aud" = "sts.amazonaws.com"
            "oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub" = "system:serviceaccount:registry:moorage"
          }
        }
      },
    ]
    error_message = "Others may take the role: ${aws_iam_role.this[0].assume_role_policy}"
  }

  assert {
    condition     = toset([aws_iam_role.this[0].permissions_boundary, aws_iam_role.replication[0].permissions_boundary, aws_iam_user.this[0].permissions_boundary]) == toset(["arn:aws:iam::111122223333:policy/boundary"])
    error_message = "An identity has no permissions boundary."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.this[0].policy_arn == aws_iam_policy.this.arn && aws_iam_user_policy_attachment.this[0].policy_arn == aws_iam_policy.this.arn
    error_message = "The role or the user lacks the policy."
  }

  assert {
    condition     = output.environment == tomap({ MOORAGE_STORE = "s3://registry/team/registry", AWS_REGION = "eu-central-1", AWS_ENDPOINT_URL_S3 = "http://localhost:4566" }) && toset(keys(output.secret_environment)) == toset(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    error_message = "The environment is another one: ${jsonencode(output.environment)}"
  }

  assert {
    condition     = output.instance_profile_name == "moorage" && output.role_name == "moorage" && output.user_name == "moorage"
    error_message = "Names are other ones."
  }

  assert {
    condition     = alltrue([for each in [aws_s3_bucket.this.tags, aws_kms_key.this[0].tags, aws_iam_policy.this.tags, aws_iam_role.this[0].tags, aws_iam_role.replication[0].tags, aws_iam_instance_profile.this[0].tags, aws_iam_user.this[0].tags] : each == tomap({ service = "moorage" })])
    error_message = "Something has no tags."
  }
}

run "with_a_key_that_exists" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/given"
    workloads   = { irsa = [{ oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/example.org", namespace = "a", service_account = "b" }] }
  }

  assert {
    condition     = jsondecode(output.policy_json).Statement[2].Resource == ["arn:aws:kms:eu-central-1:111122223333:key/given"] && length(aws_kms_key.this) == 0
    error_message = "The key that was given is not used."
  }

  assert {
    condition     = length(aws_iam_instance_profile.this) == 0 && length(jsondecode(aws_iam_role.this[0].assume_role_policy).Statement) == 1
    error_message = "Others may take the role than the one service account."
  }
}
