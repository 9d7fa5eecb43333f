"""Other ways to forget, measured side by side: closed forms, trained ones, and the comparison."""
