"""Image folders and prompts files: read, listed and encoded once."""
