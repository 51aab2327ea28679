# A registry on AWS: the module, and its gateways as an ECS service on Fargate behind an internal load balancer.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# Region and credentials come from the environment.
provider "aws" {}

data "aws_region" "current" {}

data "aws_partition" "current" {}

module "registry" {
  source = "../.."

  bucket              = var.bucket
  create_kms_key      = true
  intelligent_tiering = true
  workloads           = { ecs = true }
  tags                = var.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  tags = var.tags
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = 30
  tags              = var.tags
}

# What ECS itself needs to start a task; the gateway has the module's role.
resource "aws_iam_role" "execution" {
  name = "${var.name}-execution"
  tags = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

locals {
  port = 5000
  environment = merge(module.registry.environment, {
    MOORAGE_LISTEN     = "0.0.0.0:${local.port}"
    MOORAGE_GC_EVERY   = "24h"
    MOORAGE_LOG_FORMAT = "json"
    # Longer than the load balancer's idle_timeout, or else it would send requests into connections that are just being closed.
    MOORAGE_KEEP_ALIVE = "150s"
    # 150 MB and 24 MiB for each upload fit into the task's memory.
    MOORAGE_MAX_REQUESTS = "64"
  })
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = module.registry.role_arn
  tags                     = var.tags

  container_definitions = jsonencode([{
    name         = "moorage"
    image        = var.image
    essential    = true
    portMappings = [{ containerPort = local.port, protocol = "tcp" }]
    environment  = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    # SIGTERM drains for up to 32 s by default, and cleaning up may take 25 s more.
    stopTimeout = 60
    ulimits     = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "gateway"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = var.gateways
  launch_type                        = "FARGATE"
  health_check_grace_period_seconds  = 30
  deployment_minimum_healthy_percent = 100
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = [aws_security_group.gateway.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "moorage"
    container_port   = local.port
  }

  # The target group must belong to a load balancer before the service may use it.
  depends_on = [aws_lb_listener.this, aws_iam_role_policy_attachment.execution]
}
