"""Pictures with labels from elsewhere, made into a run like any other."""
