"""The registry's rules over a bucket. Knows no HTTP."""
