"""What was really forgotten: attacks that know more than a prompt."""
