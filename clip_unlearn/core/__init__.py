"""The paper and what is added to it: from texts, noise and weights to an edit; never an image file.

To be read in this order: concepts, synthesis, prototypes, nullspace, calibrated, edit. To be looked up: variants,
cache, errors.
"""
