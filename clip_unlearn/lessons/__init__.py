"""Pictures and panels of the notebooks; nothing outside this folder needs them."""
