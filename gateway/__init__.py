"""HTTP, settings and the command line. Knows storage/, never a key of the bucket."""
