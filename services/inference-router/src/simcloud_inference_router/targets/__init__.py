"""Where models are served, and how each place is asked."""
