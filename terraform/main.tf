locals {
  name              = coalesce(var.name, var.bucket)
  root              = var.prefix == "" ? "" : "${var.prefix}/"
  encrypts_with_kms = var.create_kms_key || var.kms_key_arn != null
  kms_key_arn       = var.create_kms_key ? aws_kms_key.this[0].arn : var.kms_key_arn
}

resource "aws_kms_key" "this" {
  count = var.create_kms_key ? 1 : 0

  description             = "Encrypts the bucket ${var.bucket} of a moorage registry"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags
}

resource "aws_kms_alias" "this" {
  count = var.create_kms_key ? 1 : 0

  name          = "alias/${var.bucket}"
  target_key_id = aws_kms_key.this[0].key_id
}
