"""Draw the bundled image set: figures (what is shown) x styles (in which domain it is shown)."""
