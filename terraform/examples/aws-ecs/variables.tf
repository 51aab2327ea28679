variable "name" {
  description = "Name of the cluster, the service, the load balancer and what belongs to them."
  type        = string
  default     = "moorage"
  nullable    = false

  validation {
    # A load balancer's name has 32 characters at most.
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$", var.name))
    error_message = "name: '${var.name}' is no name for a load balancer: 1 to 32 letters, digits and hyphens."
  }
}

variable "bucket" {
  description = "Name of the registry's bucket."
  type        = string
}

variable "image" {
  description = "The gateway's image, as built from the Dockerfile and pushed to where ECS can pull it."
  type        = string
}

variable "gateways" {
  description = "How many gateways run."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.gateways >= 1 && floor(var.gateways) == var.gateways
    error_message = "gateways: ${var.gateways} is not a whole number, at least 1."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the VPC, in two zones or more, with a way to S3, KMS, CloudWatch Logs and the gateway's image."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids: a load balancer needs subnets in two zones, and there are ${length(var.subnet_ids)}."
  }
}

variable "certificate_arn" {
  description = "ACM certificate for the name under which clients reach the registry."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:(acm|iam):", var.certificate_arn))
    error_message = "certificate_arn: '${var.certificate_arn}' is not the ARN of a certificate."
  }
}

variable "client_cidr_blocks" {
  description = "Addresses from which clients may push and pull."
  type        = list(string)

  validation {
    condition     = alltrue([for block in var.client_cidr_blocks : can(cidrhost(block, 0))])
    error_message = "client_cidr_blocks: a block is no range of addresses: ${join(", ", var.client_cidr_blocks)}."
  }
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
}
