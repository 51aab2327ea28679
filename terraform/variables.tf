variable "bucket" {
  description = "Name of the bucket to create."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket: '${var.bucket}' is no name for a bucket: 3 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit."
  }
}

variable "prefix" {
  description = "Keys of the registry begin with this and a slash; empty for the whole bucket."
  type        = string
  default     = ""
  nullable    = false

  validation {
    # A '*' would match other prefixes in the policy.
    condition     = var.prefix == "" || alltrue([for part in split("/", var.prefix) : can(regex("^[A-Za-z0-9!_.'()-]+$", part)) && !contains([".", ".."], part)])
    error_message = "prefix: '${var.prefix}' is no prefix: names of letters, digits and !_.'()- with a slash between two of them, and none at either end."
  }
}

variable "name" {
  description = "Name of the policy, the role and the user; by default that of the bucket."
  type        = string
  default     = null

  validation {
    condition     = var.name == null || can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.name))
    error_message = "name: '${coalesce(var.name, "-")}' is no name for IAM: 1 to 64 letters, digits and _+=,.@-."
  }

  validation {
    condition     = var.replication == null || length(coalesce(var.name, var.bucket)) <= 52
    error_message = "name: '${coalesce(var.name, var.bucket)}' has more than 52 characters, and with -replication after it the role that replicates would have more than 64; set a shorter name."
  }
}

variable "force_destroy" {
  description = "Let destroy delete the bucket with every image in it. Otherwise it refuses. Takes effect once applied."
  type        = bool
  default     = false
  nullable    = false
}

variable "create_kms_key" {
  description = "Create a KMS key and encrypt with it. Without one, S3 encrypts with its own keys (AES256). Never switch it off on a registry that has images: that deletes the key, and nobody can read them."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "Encrypt with this KMS key, which exists. Its key policy must let IAM policies of this account grant its use. What is stored stays encrypted with the key it was stored with, which gateways may not use once it is another one here."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn: '${coalesce(var.kms_key_arn, "-")}' is not the ARN of a KMS key; the ARN of an alias does not do, since IAM policies know keys only."
  }

  validation {
    condition     = var.kms_key_arn == null || !var.create_kms_key
    error_message = "kms_key_arn and create_kms_key are both set: give a key or have one created."
  }
}

variable "noncurrent_version_days" {
  description = "Days for which replaced and deleted objects can be brought back, and are paid for."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.noncurrent_version_days >= 1 && floor(var.noncurrent_version_days) == var.noncurrent_version_days
    error_message = "noncurrent_version_days: ${var.noncurrent_version_days} is not a whole number of days, at least 1."
  }
}

variable "abort_incomplete_upload_days" {
  description = "Days after which S3 frees what multipart uploads hold that were never completed. More than MOORAGE_UPLOAD_EXPIRY, which is 2 days."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.abort_incomplete_upload_days >= 3 && floor(var.abort_incomplete_upload_days) == var.abort_incomplete_upload_days
    error_message = "abort_incomplete_upload_days: ${var.abort_incomplete_upload_days} is not a whole number of days, at least 3, so that no push is cut off."
  }
}

variable "intelligent_tiering" {
  description = "Store layers of more than 128 KiB in S3 Intelligent-Tiering: cheaper after 30 days without a pull, at a fee for each object."
  type        = bool
  default     = false
  nullable    = false
}

variable "access_log" {
  description = "Bucket for S3's access logs, which exists and lets logging.s3.amazonaws.com write; prefix of the logs' keys."
  type = object({
    bucket = string
    prefix = optional(string, "")
  })
  default = null

  validation {
    condition     = try(var.access_log.bucket, null) != var.bucket
    error_message = "access_log: '${var.bucket}' is the registry's own bucket, and every log would be logged."
  }
}

variable "replication" {
  description = "Bucket to copy every object to: its ARN, its account if it is another one, the key in its region if objects are encrypted with KMS, the storage class of the copies."
  type = object({
    bucket_arn    = string
    account_id    = optional(string)
    kms_key_arn   = optional(string)
    storage_class = optional(string, "STANDARD")
  })
  default = null

  validation {
    condition     = var.replication == null || can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.replication.bucket_arn))
    error_message = "replication.bucket_arn: '${try(var.replication.bucket_arn, "")}' is not the ARN of a bucket."
  }

  validation {
    condition     = try(var.replication.account_id, null) == null || can(regex("^[0-9]{12}$", var.replication.account_id))
    error_message = "replication.account_id: '${coalesce(try(var.replication.account_id, null), "-")}' is not an account's 12 digits."
  }

  validation {
    condition     = try(var.replication.kms_key_arn, null) == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.replication.kms_key_arn))
    error_message = "replication.kms_key_arn: '${coalesce(try(var.replication.kms_key_arn, null), "-")}' is not the ARN of a KMS key."
  }

  validation {
    condition     = var.replication == null || !(var.create_kms_key || var.kms_key_arn != null) || try(var.replication.kms_key_arn, null) != null
    error_message = "replication.kms_key_arn is missing: objects are encrypted with a KMS key, and their copies need one in the other bucket's region."
  }

  validation {
    # A copy must be readable at once: GLACIER and DEEP_ARCHIVE are not.
    condition     = contains(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"], try(var.replication.storage_class, "STANDARD"))
    error_message = "replication.storage_class: '${try(var.replication.storage_class, "")}' is none of STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING and GLACIER_IR, from which copies can be read at once."
  }
}

variable "workloads" {
  description = "Who may take the role: EC2 instances, ECS tasks, and service accounts of Kubernetes by EKS Pod Identity or IRSA. Nobody: no role is created."
  type = object({
    ec2 = optional(bool, false)
    ecs = optional(bool, false)
    pod_identity = optional(list(object({
      cluster_arn     = string
      namespace       = string
      service_account = string
    })), [])
    irsa = optional(list(object({
      oidc_provider_arn = string
      namespace         = string
      service_account   = string
    })), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for each in var.workloads.pod_identity : can(regex("^arn:[a-z-]+:eks:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", each.cluster_arn))])
    error_message = "workloads.pod_identity: a cluster_arn is not the ARN of an EKS cluster: ${join(", ", var.workloads.pod_identity[*].cluster_arn)}."
  }

  validation {
    condition     = alltrue([for each in var.workloads.irsa : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", each.oidc_provider_arn))])
    error_message = "workloads.irsa: an oidc_provider_arn is not the ARN of an OIDC provider of IAM: ${join(", ", var.workloads.irsa[*].oidc_provider_arn)}."
  }

  validation {
    # A '*' would let every service account of the cluster in.
    condition     = alltrue([for each in concat(var.workloads.pod_identity[*], var.workloads.irsa[*]) : can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", each.namespace)) && can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", each.service_account))])
    error_message = "workloads: a namespace or service_account is no name of Kubernetes: ${join(", ", [for each in concat(var.workloads.pod_identity[*], var.workloads.irsa[*]) : "${each.namespace}/${each.service_account}"])}."
  }
}

variable "create_user" {
  description = "Create a user with an access key, for gateways outside of AWS. The secret is kept in Terraform's state."
  type        = bool
  default     = false
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles and the user."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn: '${coalesce(var.permissions_boundary_arn, "-")}' is not the ARN of an IAM policy."
  }
}

variable "endpoint_url" {
  description = "URL of the S3 endpoint if it is not AWS's own, as the gateway reaches it; for LocalStack."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint_url == null || can(regex("^https?://[^/?#\\s]+/?$", var.endpoint_url))
    error_message = "endpoint_url: '${coalesce(var.endpoint_url, "-")}' is no URL: http:// or https:// and a host."
  }
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.tags) : !startswith(lower(name), "aws:")])
    error_message = "tags: names that begin with aws: belong to AWS: ${join(", ", [for name in keys(var.tags) : name if startswith(lower(name), "aws:")])}."
  }
}
