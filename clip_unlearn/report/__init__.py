"""The papermill report, its numbers, and sweeps of many reports."""
