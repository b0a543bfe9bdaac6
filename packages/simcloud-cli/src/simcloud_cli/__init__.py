"""The `simcloud` command; imports the library only, never a service."""
