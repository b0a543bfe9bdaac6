"""Reading what frame refs point at: few GETs, each byte once."""
