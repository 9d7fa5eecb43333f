"""Where images meet an edit: accuracies, surveys of all requests, the choice of a strength, their plots."""
