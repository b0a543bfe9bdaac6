"""What was planned, what S3 holds, and what is missing."""
