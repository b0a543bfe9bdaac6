"""One file a family of commands; each imports its heavy parts when it runs."""
