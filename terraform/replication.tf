locals {
  replicates            = var.replication != null
  replicates_to_another = try(var.replication.account_id, null) != null
}

resource "aws_s3_bucket_replication_configuration" "this" {
  count = local.replicates ? 1 : 0

  bucket = aws_s3_bucket.this.id
  role   = aws_iam_role.replication[0].arn

  rule {
    id     = "everything"
    status = "Enabled"

    filter {}

    # What is deleted here goes there too; its versions stay as long as that bucket keeps them.
    delete_marker_replication {
      status = "Enabled"
    }

    dynamic "source_selection_criteria" {
      for_each = local.encrypts_with_kms ? [1] : []

      content {
        sse_kms_encrypted_objects {
          status = "Enabled"
        }
      }
    }

    destination {
      bucket        = var.replication.bucket_arn
      storage_class = var.replication.storage_class
      account       = var.replication.account_id

      dynamic "access_control_translation" {
        for_each = local.replicates_to_another ? [1] : []

        content {
          owner = "Destination"
        }
      }

      dynamic "encryption_configuration" {
        for_each = var.replication.kms_key_arn == null ? [] : [1]

        content {
          replica_kms_key_id = var.replication.kms_key_arn
        }
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_iam_role" "replication" {
  count = local.replicates ? 1 : 0

  name        = "${local.name}-replication"
  description = "S3, when it replicates the bucket ${var.bucket}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "s3.amazonaws.com" }
      Condition = { ArnEquals = { "aws:SourceArn" = aws_s3_bucket.this.arn } }
    }]
  })
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html
resource "aws_iam_role_policy" "replication" {
  count = local.replicates ? 1 : 0

  name = "replication"
  role = aws_iam_role.replication[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Effect   = "Allow"
          Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
          Resource = [aws_s3_bucket.this.arn]
        },
        {
          Effect   = "Allow"
          Action   = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
          Resource = ["${aws_s3_bucket.this.arn}/*"]
        },
        {
          Effect   = "Allow"
          Action   = concat(["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"], local.replicates_to_another ? ["s3:ObjectOwnerOverrideToBucketOwner"] : [])
          Resource = ["${var.replication.bucket_arn}/*"]
        },
      ],
      local.encrypts_with_kms ? [{ Effect = "Allow", Action = ["kms:Decrypt"], Resource = [local.kms_key_arn] }] : [],
      var.replication.kms_key_arn == null ? [] : [{ Effect = "Allow", Action = ["kms:Encrypt"], Resource = [var.replication.kms_key_arn] }],
    )
  })
}
