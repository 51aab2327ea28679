"""The collector: removes what nothing references, while gateways serve."""
