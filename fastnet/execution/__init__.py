"""What executes the math: the ops contract, the backends, and their registry."""
