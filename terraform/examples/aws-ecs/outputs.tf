output "load_balancer" {
  description = "DNS name of the load balancer, for a CNAME or alias record under the certificate's name."
  value       = aws_lb.this.dns_name
}

output "environment" {
  description = "Environment of the gateways."
  value       = local.environment
}

output "bucket" {
  description = "Name of the registry's bucket."
  value       = module.registry.bucket
}
