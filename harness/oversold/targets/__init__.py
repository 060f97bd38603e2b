"""What a scenario drives: this package's own platform in the load generator's process, or a service over HTTP."""
