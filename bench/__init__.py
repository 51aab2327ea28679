"""The benchmark: moorage beside CNCF distribution, over one object store. docs/performance.md tells what it measures and how."""
