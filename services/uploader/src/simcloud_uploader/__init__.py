"""The uploader service: takes frames as a stream and writes them to S3 as shards."""
