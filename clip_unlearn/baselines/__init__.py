"""Other ways to forget, measured side by side."""
