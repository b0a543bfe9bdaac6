"""S3: a client with our errors, retries and checksums, and what servers can and can not do."""
