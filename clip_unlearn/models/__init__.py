"""From a model's name to its files and its two heads; and an edited model back into files."""
