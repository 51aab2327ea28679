# Each variable refuses what cannot be, in a sentence that names it; tests/terraform/test_readme.py sees to it that none is missing here.
# A validation that looks at another variable is not made while that one is wrong.

mock_provider "aws" {}

variables {
  bucket = "registry"
}

run "values_that_cannot_be" {
  command = plan

  variables {
    bucket                       = "Registry"
    prefix                       = "/team"
    kms_key_arn                  = "alias/registry"
    noncurrent_version_days      = 0
    abort_incomplete_upload_days = 2
    workloads                    = { irsa = [{ oidc_provider_arn = "oidc.eks", namespace = "a", service_account = "b" }] }
    permissions_boundary_arn     = "boundary"
    endpoint_url                 = "localhost:4566"
    tags                         = { "aws:mine" = "no" }
  }

  expect_failures = [
    var.bucket,
    var.prefix,
    var.kms_key_arn,
    var.noncurrent_version_days,
    var.abort_incomplete_upload_days,
    var.workloads,
    var.permissions_boundary_arn,
    var.endpoint_url,
    var.tags,
  ]
}

run "others_that_cannot_be" {
  command = plan

  variables {
    bucket                       = "ab"
    prefix                       = "team/../other"
    kms_key_arn                  = "arn:aws:kms:eu-central-1:111122223333:alias/registry"
    noncurrent_version_days      = 1.5
    abort_incomplete_upload_days = 3.5
    workloads                    = { pod_identity = [{ cluster_arn = "c", namespace = "a", service_account = "b" }] }
    endpoint_url                 = "s3://registry"
  }

  expect_failures = [
    var.bucket,
    var.prefix,
    var.kms_key_arn,
    var.noncurrent_version_days,
    var.abort_incomplete_upload_days,
    var.workloads,
    var.endpoint_url,
  ]
}

run "what_would_let_others_in" {
  command = plan

  variables {
    bucket    = "registry-"
    prefix    = "team*"
    workloads = { irsa = [{ oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/o", namespace = "a", service_account = "*" }] }
  }

  expect_failures = [
    var.bucket,
    var.prefix,
    var.workloads,
  ]
}

run "two_keys" {
  command = plan

  variables {
    create_kms_key = true
    kms_key_arn    = "arn:aws:kms:eu-central-1:111122223333:key/given"
  }

  expect_failures = [var.kms_key_arn]
}

run "logs_of_logs_and_copies_to_no_bucket" {
  command = plan

  variables {
    access_log  = { bucket = "registry" }
    replication = { bucket_arn = "copies" }
  }

  expect_failures = [var.access_log, var.replication]
}

run "a_name_that_is_none" {
  command = plan

  variables {
    name = "no spaces"
  }

  expect_failures = [var.name]
}

run "a_name_that_leaves_no_room" {
  command = plan

  variables {
    bucket      = "a-bucket-with-a-name-of-more-than-fifty-two-characters"
    replication = { bucket_arn = "arn:aws:s3:::copies" }
  }

  expect_failures = [var.name]
}

run "copies_to_no_account" {
  command = plan

  variables {
    replication = { bucket_arn = "arn:aws:s3:::copies", account_id = "me" }
  }

  expect_failures = [var.replication]
}

run "copies_with_no_key" {
  command = plan

  variables {
    replication = { bucket_arn = "arn:aws:s3:::copies", kms_key_arn = "alias/copies" }
  }

  expect_failures = [var.replication]
}

run "copies_without_the_key_that_they_need" {
  command = plan

  variables {
    create_kms_key = true
    replication    = { bucket_arn = "arn:aws:s3:::copies" }
  }

  expect_failures = [var.replication]
}

run "copies_that_cannot_be_read" {
  command = plan

  variables {
    replication = { bucket_arn = "arn:aws:s3:::copies", storage_class = "GLACIER" }
  }

  expect_failures = [var.replication]
}
