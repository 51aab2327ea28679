module "policy" {
  source = "./modules/policy"

  bucket_arn  = aws_s3_bucket.this.arn
  prefix      = var.prefix
  use_kms     = local.encrypts_with_kms
  kms_key_arn = local.kms_key_arn
}

resource "aws_iam_policy" "this" {
  name        = local.name
  description = "What a moorage gateway needs of the bucket ${var.bucket}"
  policy      = module.policy.json
  tags        = var.tags
}

data "aws_caller_identity" "current" {
  count = var.workloads.ecs ? 1 : 0
}

locals {
  trust_of_ec2 = [for _ in range(var.workloads.ec2 ? 1 : 0) : {
    Sid       = "EC2"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole"]
    Principal = { Service = "ec2.amazonaws.com" }
    Condition = {}
  }]

  # Only tasks of this account: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
  trust_of_ecs = [for caller in data.aws_caller_identity.current : {
    Sid       = "ECS"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole"]
    Principal = { Service = "ecs-tasks.amazonaws.com" }
    Condition = { StringEquals = { "aws:SourceAccount" = caller.account_id } }
  }]

  # By the tags of the session: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html
  trust_of_pod_identity = [for index, each in var.workloads.pod_identity : {
    Sid       = "PodIdentity${index}"
    Effect    = "Allow"
    Action    = ["sts:AssumeRole", "sts:TagSession"]
    Principal = { Service = "pods.eks.amazonaws.com" }
    Condition = {
      StringEquals = {
        "aws:RequestTag/eks-cluster-arn"            = each.cluster_arn
        "aws:RequestTag/kubernetes-namespace"       = each.namespace
        "aws:RequestTag/kubernetes-service-account" = each.service_account
      }
    }
  }]

  # https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
  trust_of_irsa = [for index, each in var.workloads.irsa : {
    Sid       = "IRSA${index}"
    Effect    = "Allow"
    Action    = ["sts:AssumeRoleWithWebIdentity"]
    Principal = { Federated = each.oidc_provider_arn }
    Condition = {
      StringEquals = {
        "${split(":oidc-provider/", each.oidc_provider_arn)[1]}:aud" = "sts.amazonaws.com"
        "${split(":oidc-provider/", each.oidc_provider_arn)[1]}:sub" = "system:serviceaccount:${each.namespace}:${each.service_account}"
      }
    }
  }]

  # As texts, since statements differ in their types.
  trust = [for each in concat(
    [for statement in local.trust_of_ec2 : jsonencode(statement)],
    [for statement in local.trust_of_ecs : jsonencode(statement)],
    [for statement in local.trust_of_pod_identity : jsonencode(statement)],
    [for statement in local.trust_of_irsa : jsonencode(statement)],
  ) : jsondecode(each)]
  has_role = var.workloads.ec2 || var.workloads.ecs || length(var.workloads.pod_identity) + length(var.workloads.irsa) > 0
}

resource "aws_iam_role" "this" {
  count = local.has_role ? 1 : 0

  name                 = local.name
  description          = "A moorage gateway of the bucket ${var.bucket}"
  assume_role_policy   = jsonencode({ Version = "2012-10-17", Statement = local.trust })
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy_attachment" "this" {
  count = local.has_role ? 1 : 0

  role       = aws_iam_role.this[0].name
  policy_arn = aws_iam_policy.this.arn
}

resource "aws_iam_instance_profile" "this" {
  count = var.workloads.ec2 ? 1 : 0

  name = local.name
  role = aws_iam_role.this[0].name
  tags = var.tags
}

resource "aws_iam_user" "this" {
  count = var.create_user ? 1 : 0

  name                 = local.name
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_user_policy_attachment" "this" {
  count = var.create_user ? 1 : 0

  user       = aws_iam_user.this[0].name
  policy_arn = aws_iam_policy.this.arn
}

resource "aws_iam_access_key" "this" {
  count = var.create_user ? 1 : 0

  user = aws_iam_user.this[0].name
}
