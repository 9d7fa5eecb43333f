"""Variants, to be looked up: other prototypes, other edits, and edits of the text side.

    latent         prototypes in closed form, which are blended with pictures
    words          what texts can see; the pull that makes a domain forgotten for every word
    complete       a class is not found by a search in its domain either
    prompts        the text side
    oblique        a null space with another direction to detect
    least_squares  edits fitted to prototypes, in closed form and by gradient
    solvers        what these solve with

An edit takes `nullspace.TowerPrototypes` and mask (C, K), True for the cells to forget, and returns
the factors A (D, r), B (r, d) of Delta, as those of `nullspace` and `calibrated` do.
"""

from .complete import complete, interaction, interaction_detectors
from .latent import data_free_images, features_of_nothing, latent_prototypes
from .least_squares import refined, retain_aware, unit_features
from .oblique import cell_embeddings, class_direction, oblique, random_subspace
from .prompts import calibrated_prompts, oblique_prompts
from .solvers import minimise, ridge_solution, thin
from .words import (
    known_words,
    pull_of_words,
    redirect_every_word,
    seeing_prompts,
    seen_by_texts,
    word_prompts,
)

__all__ = [
    "calibrated_prompts",
    "cell_embeddings",
    "class_direction",
    "complete",
    "data_free_images",
    "features_of_nothing",
    "interaction",
    "interaction_detectors",
    "known_words",
    "latent_prototypes",
    "minimise",
    "oblique",
    "oblique_prompts",
    "pull_of_words",
    "random_subspace",
    "redirect_every_word",
    "refined",
    "retain_aware",
    "ridge_solution",
    "seeing_prompts",
    "seen_by_texts",
    "thin",
    "unit_features",
    "word_prompts",
]
