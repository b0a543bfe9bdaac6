"""What makes a frame: the spec, the plan, and the values drawn from them."""
