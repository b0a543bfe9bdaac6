"""Endpoints that become targets by their tags, beside those that the catalogue writes."""
