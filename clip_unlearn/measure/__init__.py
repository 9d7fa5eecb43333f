"""Where images meet an edit: accuracies, surveys of all requests, rules for the strength, plots.

evaluate has the one code for accuracy by cell and by group, setting what every request of a run
shares; survey, strength, zero_shot and plots build on them.
"""
