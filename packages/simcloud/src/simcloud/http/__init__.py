"""HTTP/1.1 over kept-alive connections, for calls whose cost counts: to targets and to S3."""
