"""Image folders and files of prompts: found, listed, encoded once."""
