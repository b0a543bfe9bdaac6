"""What a camera's sensor does to a finished picture, after any renderer."""
