"""AWS without the SDK on the way of each request: signatures, and whose credentials make them."""
