"""Generated from proto/simcloud/v1 by scripts/generate-proto; nothing else lives here."""
