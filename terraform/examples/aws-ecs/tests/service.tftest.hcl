# The service, with a provider that creates nothing: terraform test

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
      arn = "arn:aws:kms:eu-central-1:111122223333:key/created"
    }
  }

  mock_resource "aws_iam_policy" {
    defaults = {
      arn = "arn:aws:iam::111122223333:policy/registry"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111122223333:role/moorage"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/moorage/1"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/moorage/1"
    }
  }

  mock_data "aws_region" {
    defaults = {
      name = "eu-central-1"
    }
  }

  mock_data "aws_partition" {
    defaults = {
      partition = "aws-us-gov"
    }
  }
}

variables {
  bucket             = "registry"
  image              = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/moorage:1"
  vpc_id             = "vpc-1"
  subnet_ids         = ["subnet-1", "subnet-2"]
  certificate_arn    = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
  client_cidr_blocks = ["10.0.0.0/8"]
}

run "service" {
  assert {
    condition = {
      for each in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : each.name => each.value
      } == {
      AWS_REGION           = "eu-central-1"
      MOORAGE_GC_EVERY     = "24h"
      MOORAGE_KEEP_ALIVE   = "150s"
      MOORAGE_LISTEN       = "0.0.0.0:5000"
      MOORAGE_LOG_FORMAT   = "json"
      MOORAGE_MAX_REQUESTS = "64"
      MOORAGE_STORE        = "s3://registry"
    }
    error_message = "The gateway has another environment: ${aws_ecs_task_definition.this.container_definitions}"
  }

  assert {
    condition     = 150 + 24 * 1.048576 * tonumber(local.environment.MOORAGE_MAX_REQUESTS) < 1.048576 * aws_ecs_task_definition.this.memory
    error_message = "A task's memory does not hold as many uploads as it takes at once."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].image == var.image
    error_message = "The gateway has another image."
  }

  assert {
    condition     = aws_ecs_task_definition.this.task_role_arn == module.registry.role_arn
    error_message = "The gateway does not have the module's role."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.execution.policy_arn == "arn:aws-us-gov:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    error_message = "The policy is of another partition: ${aws_iam_role_policy_attachment.execution.policy_arn}"
  }

  assert {
    condition     = one(aws_ecs_service.this.load_balancer).container_port == 5000 && aws_lb_target_group.this.port == 5000
    error_message = "The load balancer and the gateway are at different ports."
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].path == "/readyz"
    error_message = "A gateway that cannot serve gets requests."
  }

  assert {
    condition     = aws_lb.this.internal && [for each in aws_vpc_security_group_ingress_rule.clients : each.cidr_ipv4] == ["10.0.0.0/8"]
    error_message = "Others reach a registry that has no passwords."
  }
}

run "values_that_cannot_be" {
  command = plan

  variables {
    name               = "a name that no load balancer has"
    gateways           = 0
    subnet_ids         = ["subnet-1"]
    certificate_arn    = "certificate"
    client_cidr_blocks = ["everyone"]
  }

  expect_failures = [
    var.name,
    var.gateways,
    var.subnet_ids,
    var.certificate_arn,
    var.client_cidr_blocks,
  ]
}
