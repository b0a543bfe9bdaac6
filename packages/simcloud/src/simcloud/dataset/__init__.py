"""The dataset format: keys, tars, indexes, manifests; written and read."""
