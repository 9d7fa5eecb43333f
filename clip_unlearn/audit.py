"""What was really forgotten: attacks that know more than a prompt, and what the edit cost elsewhere.

An edit changes the last projection alone, h = f (W + Delta), so f knows what it knew. Real images only measure here.
Accuracies, precisions and cosines are fractions; "before" is always the same check on the unedited model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot, pad

from .analysis import Setting
from .errors import InputError
from .evaluate import GROUPS, Task, accuracy_grid, classifier, edited_weights, evaluate, group_masks, predict
from .prototypes import Prototypes
from .unlearn import ProjectionEdit

GONE, STILL = 0.1, 0.5  # share left of what a check found over chance before: nothing (up to), what matters (from)
KNEW, LOSS, CELL_LOSS = 0.1, 0.02, 0.1  # to tell anything, over chance; a fall worth a word: of a group, of a cell
OVER = 2.0  # standard deviations below random pairs at which a low similarity to its own text gives an image away
SHOTS, NEAREST_SHOTS, DRAWS = (1, 4, 16), 4, 5  # labelled images a cell, and how often they are drawn


@dataclass(frozen=True)
class Audit:
    """frame (check, where, before, after, chance, reading), `neighbours`, and the verdict in plain sentences."""

    frame: pd.DataFrame
    neighbours: pd.DataFrame
    verdict: str


def audit(setting: Setting, edit: ProjectionEdit, strength: float = 1.0, seed: int = 0) -> Audit:
    """Every check of an edit at a strength; a few seconds. Raises InputError where there is no image to forget."""
    task, p, mask, sides = setting.task, setting.prototypes, edit.request.mask(setting.task.grid), []
    forget = group_masks(mask, task.images)["forget"]
    if not forget.any():
        raise InputError(f"no image of {edit.request}: nothing to audit.")
    near = neighbours(task, p, edit, strength)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small products: threads would only wait for one another
    try:
        for x in (0.0, strength):
            W, W_text = edited_weights(p, edit, x)
            text = classifier(task.prompts, W_text)
            rows = [*_answers(setting, edit, x), *_probes(task, mask, W, text, seed)]
            sides.append([*rows, *_examples(task, p, forget, W, text, seed)])
    finally:
        torch.set_num_threads(threads)
    frame = pd.DataFrame(sides[1], columns=["check", "where", "after", "chance"])
    frame.insert(2, "before", [row[2] for row in sides[0]])
    sd, partial = frame["after"].iloc[-1], not (mask.all(0).any() or mask.all(1).any())
    for cell in near.nsmallest(1, "change").itertuples():
        frame.loc[len(frame)] = ["worst cell", f"{cell[1]} in {cell.domain}", cell.before, cell.after, 1 / len(mask)]
    frame["reading"] = [_reading(row, sd, partial) for row in frame.itertuples()]
    return Audit(frame, near, _verdict(frame, str(edit.request)))


def linear_probe(features: Tensor, labels: Tensor, seed: int = 0, folds: int = 5, ridge: float = 0.1) -> float:
    """Balanced accuracy of logistic regression, every image held out once: features (n, D), labels (n,), of any kind.

    Stratified folds, labels of equal weight, + ridge / 2 |w|^2. NaN for fewer than two labels, or a label of one image.
    """
    _, y, count = labels.unique(return_inverse=True, return_counts=True)
    if len(count) < 2 or count.min() < 2:
        return float("nan")
    z = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)  # over all images: this needs no label
    z = pad(z, (0, 1), value=1.0)
    fold = _rank_within(y, seed) % folds
    train = (fold != torch.arange(folds)[:, None]).to(z)
    weight = train / (train @ one_hot(y).to(z))[:, y] / len(count)

    def loss(w: Tensor) -> Tensor:  # all folds in one: they share nothing
        losses = cross_entropy((z @ w).flatten(0, 1), y.repeat(folds), reduction="none")
        return weight.flatten() @ losses + ridge / 2 * w[:, :-1].square().sum()

    w = _minimise(loss, z.new_zeros(folds, z.shape[1], len(count)), 100)
    right = (z @ w)[fold, torch.arange(len(y))].argmax(1).eq(y).to(z)
    return (torch.bincount(y, right) / torch.bincount(y)).mean().item()


def relearn(W: Tensor, f: Tensor, labels: Tensor, text: Tensor, ridge: float = 1.0, steps: int = 30) -> Tensor:
    """W (D, d) fine-tuned until the classifier text (C, d) names images f (n, D); without images, W itself.

    L-BFGS; cross-entropy at logit scale 30 + ridge |W' - W|^2 / |W|^2, which keeps it from naming all images alike.
    """
    Q, h = torch.linalg.qr(f.T).Q, f @ W  # every gradient lies in the span of the images

    def loss(step: Tensor) -> Tensor:
        logits = 30 * normalize(h + f @ Q @ step, dim=-1) @ text.T
        return cross_entropy(logits, labels) + ridge * step.square().sum() / W.square().sum()

    return W + Q @ _minimise(loss, W.new_zeros(Q.shape[1], W.shape[1]), steps) if len(f) else W


def few_shot(task: Task, forget: Tensor, W: Tensor, text: Tensor, k: int, seed: int, nearest: bool = False) -> Tensor:
    """(3,) accuracy on forgotten (n,) bool and on retained images that are no shots, after `relearn` from k a cell.

    Third: how often retained images get the answers sought, which is what saying them of everything would earn.
    `nearest`: by the nearest mean of k shots of every cell instead. Mean over DRAWS; NaN if a cell has too few images.
    """
    f, y, K, found = task.images.f, task.images.class_of, task.grid.shape[1], []
    cells = y * K + task.images.domain_of
    if torch.bincount(cells[forget])[cells[forget]].min() <= k:
        return torch.full((3,), torch.nan)
    for draw in range(DRAWS):
        shots = _rank_within(cells, seed * DRAWS + draw) < k
        if nearest:
            predicted = nearest_mean(f @ W, f[shots] @ W, cells[shots]) // K
        else:
            predicted = (f @ relearn(W, f[shots & forget], y[shots & forget], text) @ text.T).argmax(1)
        right, held, rest = predicted.eq(y).float(), forget & ~shots, ~forget & ~shots
        said = one_hot(predicted[rest], len(text)).float().mean(0)[y[held]]
        found.append([right[held].mean(), right[rest].mean(), said.mean()])
    return torch.tensor(found).mean(0)


def nearest_mean(queries: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
    """(n,) label whose mean unit anchor has the largest cosine: queries (n, d), anchors (a, d), labels (a,)."""
    values, y = labels.unique(return_inverse=True)
    means = anchors.new_zeros(len(values), anchors.shape[1]).index_add(0, y, normalize(anchors, dim=-1))
    return values[(queries @ normalize(means, dim=-1).T).argmax(1)]


def nearest_prototype(task: Task, prototypes: Prototypes, W: Tensor) -> Tensor:
    """(n,) class of the cell whose visual prototypes, seen through the same W, are nearest to each image."""
    C, K, m, _ = prototypes.visual.shape
    cells = torch.arange(C * K).repeat_interleave(m)
    return nearest_mean(task.images.f @ W, prototypes.visual.flatten(0, 2) @ W, cells) // K


def residual_similarity(task: Task, forget: Tensor, W: Tensor, text: Tensor) -> tuple[float, float, float]:
    """Mean cosine of forgotten images and own class's text; mean and sd of all (image, other class's text) pairs."""
    cosine = normalize(task.images.f @ W, dim=-1) @ text.T
    own = one_hot(task.images.class_of, len(text)).bool()
    return cosine[own][forget].mean().item(), cosine[~own].mean().item(), cosine[~own].std().item()


def precision_at_k(h: Tensor, text: Tensor, relevant: Tensor) -> float:
    """Share of relevant (n,) bool among the k images h (n, d) most like a text (d,), k the number of relevant ones."""
    return relevant[(normalize(h, dim=-1) @ text).topk(int(relevant.sum())).indices].float().mean().item()


def neighbours(task: Task, prototypes: Prototypes, edit: ProjectionEdit, strength: float = 1.0) -> pd.DataFrame:
    """Cells that stay: class, domain, similarity (largest cosine to a forgotten cell's text), before, after, change."""
    mask, text = edit.request.mask(task.grid), prototypes.text
    grids = [accuracy_grid(task, predict(task, *edited_weights(prototypes, edit, x))) for x in (0.0, strength)]
    like = pd.DataFrame((text @ text[mask].T).amax(-1).numpy(), grids[0].index, grids[0].columns)
    tables = [g.where(~mask.numpy()).stack() for g in (like, *grids)]
    frame = pd.concat(tables, axis=1, keys=["similarity", "before", "after"]).dropna()
    return frame.assign(change=frame["after"] - frame["before"]).rename_axis(["class", "domain"]).reset_index()


def _answers(setting: Setting, edit: ProjectionEdit, strength: float) -> Iterator[tuple]:
    """What prompts and paraphrases find, by group of images."""
    for row in evaluate(setting.prototypes, edit, setting.task, [strength], setting.unrelated).itertuples():
        chance = 1 / len((setting.unrelated if row.group == "unrelated" else setting.task).prompts)
        yield from (("prompts", row.group, row.accuracy, chance), ("paraphrases", row.group, row.paraphrase, chance))


def _probes(task: Task, mask: Tensor, W: Tensor, text: Tensor, seed: int) -> Iterator[tuple]:
    """Linear probes and search: over all images, inside the domains where something is forgotten, and outside."""
    images, rows, inside = task.images, mask.any(1), mask.any(0)[task.images.domain_of]
    features, whole = {"f": images.f, "h": normalize(images.f @ W, dim=-1)}, bool(rows.all())
    scopes = {"all images": inside | True, "forgotten domains": inside, "same_class": ~inside}
    for where in ["forgotten domains"] if whole else ["all images"] if mask.any(0).all() else scopes:
        scope, y = scopes[where], images.class_of[scopes[where]]
        kinds = [y == c for c in rows.nonzero() if (y == c).any()]
        for name, x in features.items() if where != "same_class" else ():
            found = [linear_probe(x[scope], kind, seed) for kind in ([y] if whole else kinds)]
            yield f"linear probe on {name}", where, pd.Series(found).mean(), 1 / len(y.unique()) if whole else 0.5
        found = [(precision_at_k(features["h"][scope], text[y[k][0]], k), k.float().mean().item()) for k in kinds]
        yield "search", where, *pd.DataFrame(found, columns=["precision", "share"]).mean()
    for name, x in features.items() if whole else ():
        found = [linear_probe(x, images.domain_of == k, seed) for k in mask.any(0).nonzero()]
        yield f"domain probe on {name}", "all images", pd.Series(found).mean(), 0.5


def _examples(task: Task, p: Prototypes, forget: Tensor, W: Tensor, text: Tensor, seed: int) -> Iterator[tuple]:
    """What prototypes and a few real images bring back, and how like its text an image still is."""
    chance, n = 1 / len(text), NEAREST_SHOTS
    right = nearest_prototype(task, p, W).eq(task.images.class_of).float()
    yield "nearest prototype", "forget", right[forget].mean().item(), chance
    yield f"nearest mean of {n}", "forget", few_shot(task, forget, W, text, n, seed, nearest=True)[0].item(), chance
    for k in SHOTS:
        forgotten, retained, said = few_shot(task, forget, W, text, k, seed).tolist()
        yield f"relearning from {k}", "forget", forgotten, max(chance, said)
        yield f"relearning from {k}", "control: retained", retained, chance
    value, mean, sd = residual_similarity(task, forget, W, text)
    for where, found in (("forget", value), ("control: random pairs", mean), ("control: their sd", sd)):
        yield "similarity", where, found, mean


def _reading(row: tuple, sd: float, partial: bool) -> str:
    """One row in a few words; `sd` of random pairs; `partial`: the forgotten classes stay in other domains."""
    gained, knew, lost = row.after - row.chance, row.before - row.chance, row.before - row.after
    if pd.isna(lost) or row.where.startswith("control") or (partial and row.where == "all images"):
        return "not measured" if pd.isna(lost) else "for comparison"
    if row.check == "similarity" and gained < -OVER * sd:
        return "over-forgotten"
    if row.check == "worst cell" or row.where in GROUPS[1:]:
        return f"lost {100 * lost:.0f} points" if lost > (CELL_LOSS if row.check == "worst cell" else LOSS) else "kept"
    if knew < KNEW or gained <= GONE * knew:
        return "tells nothing" if knew < KNEW else "gone"
    return "still there" if gained >= STILL * knew else "partly there"


def _verdict(frame: pd.DataFrame, name: str) -> str:
    """The frame in plain sentences."""
    first, *rows = frame.itertuples()  # what prompts find
    verb = {"gone": "no longer find", "partly there": "still find part of", "tells nothing": "never found"}
    parts = [f"Prompts {verb.get(first.reading, 'still find')} {name} ({first.after:.2f}, chance {first.chance:.2f})."]
    for reading, words in (("still there", "Still found by"), ("partly there", "In part by"), ("gone", "Not by")):
        if found := [f"{r.check} ({r.after:.2f})" for r in rows if r.reading == reading]:
            parts.append(f"{words}: {', '.join(found)}.")
    behind = [r for r in rows if not r.check.startswith(("linear probe on f", "domain probe"))]
    if first.reading == "gone" and any(r.reading == "still there" for r in behind):
        parts.append("The head no longer says it, the features still know it: this hides, it does not erase.")
    elif first.reading == "gone":
        parts.append("Nothing tried here finds it behind the projection; f, in front of it, is as it was.")
    if (frame["reading"] == "over-forgotten").any():
        parts.append("Its images are less like their own text than random pairs are, which gives them away.")
    lost = [f"{r.check}, {r.where} ({r.before:.2f} to {r.after:.2f})" for r in rows if r.reading.startswith("lost")]
    return " ".join([*parts, f"Lost: {'; '.join(lost)}." if lost else "What should stay stayed."])


def _rank_within(groups: Tensor, seed: int) -> Tensor:
    """(n,) the place of each member of a group in a random order of that group, from 0."""
    noise = torch.rand(len(groups), generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    ordered, order = (groups + noise).sort()
    return (torch.arange(len(order)) - torch.searchsorted(ordered, ordered.floor()))[order.argsort()]


def _minimise(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """Where L-BFGS takes `start` on a smooth loss."""
    x = start.clone().requires_grad_(True)
    solver = torch.optim.LBFGS([x], max_iter=steps, tolerance_change=1e-6, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        value = loss(x)
        (x.grad,) = torch.autograd.grad(value, x)
        return value

    solver.step(step)
    return x.detach()
