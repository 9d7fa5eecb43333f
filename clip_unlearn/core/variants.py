"""Variants, to be looked up: prototypes in closed form, other edits, and edits of the text side.

An edit takes `nullspace.TowerPrototypes` and mask (C, K), True for the cells to forget, and returns
the factors A (D, r), B (r, d) of Delta, as those of `nullspace` and `calibrated` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torchvision.transforms import v2

from . import ClipLike
from .calibrated import (
    BETA,
    calibrate,
    calibrated,
    centred,
    class_detectors,
    class_leads,
    dual_directions,
    mean_embeddings,
    redirect,
    without,
)
from .concepts import ConceptGrid, fill
from .nullspace import Factors, TowerPrototypes, orthonormal_basis

# ---- prototypes in closed form


def latent_prototypes(
    clip: ClipLike,
    targets: Tensor,
    per_cell: int,
    seed: int,
    pool: int = 384,
    W: Tensor | None = None,
) -> Tensor:
    """Features (n, m, D) solved in closed form: the most ordinary f whose embedding is the target.

    f = mu + S W (W^T S W)^-1 (s t - mu W), with mu and S the mean and covariance (plus a ridge) of
    features of `pool` pictures of nothing, and s the mean norm of their embeddings: of all f with
    that embedding it is the likeliest under a Gaussian. Each of the m prototypes takes mu and S
    from its own random half of those pictures. A bias is taken off first. W (D, d) stands for the
    CLIP's own final projection if it is given.
    """
    pictures = clip.normalized(data_free_images(pool, clip.image_size, seed))
    with torch.no_grad():
        features = torch.cat([clip.image_features(part).cpu() for part in pictures.split(128)])

    # A bias is a row of W that meets a feature of 1: it is added afterwards, not solved for.
    head = clip.heads["visual"]
    W = head.weight if W is None else W
    D = len(W) - head.has_bias
    bias = W[D:].sum(0)
    ones = features[:1, D:].expand(len(targets), -1)

    generator = torch.Generator().manual_seed(seed)
    prototypes = []
    for _ in range(per_cell):
        half = torch.randperm(pool, generator=generator)[: pool // 2]
        f = _most_ordinary(features[half, :D], W[:D], bias, targets)
        prototypes.append(torch.cat([f, ones], 1))
    return torch.stack(prototypes, 1)


def _most_ordinary(features: Tensor, W: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """(n, D) the formula of `latent_prototypes`, with mean and covariance of features (p, D)."""
    mu = features.mean(0)
    S = torch.cov(features.T)
    S = S + _share_of_identity(S, 0.01)

    G = W.T @ S @ W  # (d, d) covariance of the embeddings
    G = G + _share_of_identity(G, 0.01)

    s = (features @ W + bias).norm(dim=-1).mean()
    missing = s * targets - mu @ W - bias  # (n, d)
    return mu + missing @ torch.linalg.solve(G, W.T @ S)


def _share_of_identity(S: Tensor, share: float) -> Tensor:
    """A multiple of I, relative to the mean variance of S."""
    return share * S.diagonal().mean() * torch.eye(len(S))


def data_free_images(n: int, size: int, seed: int) -> Tensor:
    """(n, 3, size, size) pictures of nothing in [0, 1]: pink noise, dead leaves, scribbles."""
    generator = torch.Generator().manual_seed(seed)
    pictures = _pink_noise(n, size, generator)
    for i in range(n):
        kind = i % 3
        if kind == 0:
            continue  # stays noise
        shapes = torch.rand(80, 8, generator=generator).tolist()
        drawn = _dead_leaves(shapes, size) if kind == 1 else _scribble(shapes, size)
        pixels = v2.functional.pil_to_tensor(drawn)
        pictures[i] = v2.functional.to_dtype(pixels, torch.float, scale=True)
    return pictures


def _pink_noise(n: int, size: int, generator: torch.Generator) -> Tensor:
    """(n, 3, size, size) noise with amplitude 1 / frequency, as in natural images."""
    f = torch.fft.fftfreq(size)
    frequency = (f[:, None] ** 2 + f[None, :] ** 2).sqrt()
    amplitude = 1 / frequency.clamp(min=1 / size)

    white = torch.randn(n, 3, size, size, generator=generator)
    spectrum = torch.fft.fft2(white)
    pink = torch.fft.ifft2(spectrum * amplitude).real
    deviation = pink.std((2, 3), keepdim=True)
    return torch.sigmoid(1.5 * pink / deviation)


def _dead_leaves(shapes: Sequence[Sequence[float]], size: int) -> Image.Image:
    """Discs of random colour that lie over each other, a usual model of natural images."""
    background = _colour(shapes[0][:3])
    picture = Image.new("RGB", (size, size), background)
    draw = ImageDraw.Draw(picture)
    for x, y, _, _, *rgb, r in shapes[:60]:
        left, top = x * size, y * size
        radius = size * min(0.04 / (0.05 + r), 0.4)
        box = [left - radius, top - radius, left + radius, top + radius]
        draw.ellipse(box, fill=_colour(rgb))
    return picture


def _scribble(shapes: Sequence[Sequence[float]], size: int) -> Image.Image:
    """Dark arcs on white."""
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    for a, b, c, d, *_, r in shapes[:12]:
        left, right = sorted([a, c])
        top, bottom = sorted([b, d])
        box = [left * size, top * size, right * size + 1, bottom * size + 1]
        start = 360 * r
        gray = int(120 * r)
        width = 1 + int(2 * r)
        draw.arc(box, start, start + 270, fill=(gray, gray, gray), width=width)
    return picture


def _colour(rgb: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(255 * value) for value in rgb)


# ---- the text side of the default edit


def calibrated_prompts(p: TowerPrototypes, mask: Tensor, beta: float = BETA) -> Factors:
    """`calibrated` on the text side, for classes forgotten everywhere: only their prompts move.

    A prompt of class c moves by -amount r_c. That takes away the lead which the class has with the
    pictures `p.reached`.
    """
    chosen = mask.any(1)
    calibration = calibrate(p.text, p.text, p.text)
    l = class_detectors(calibration, p.text, p.text, chosen)  # noqa: E741
    r = dual_directions(p.class_text)[chosen]

    pictures = p.reached[chosen]  # (n, K, d)
    leads = class_leads(p.class_text)[chosen]
    lead = torch.einsum("ckd,cd->ck", pictures, leads)
    lead_per_step = torch.einsum("ckd,cd->ck", pictures, r)  # (n, K)
    steps = lead / lead_per_step.clamp_min(1e-3)
    amount = steps.amax(1).clamp_min(0)
    return -beta * (p.W @ l.T) * amount, r


# ---- least squares


def unit_features(features: Tensor) -> Tensor:
    """Prototype features at one common norm, their mean: no cell weighs more than another."""
    norms = features.norm(dim=-1, keepdim=True)
    return features / norms * norms.mean()


def retain_aware(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = 1.5,
    weight: float = 1.0,
    lam: float = 1.0,
) -> Factors:
    """Least squares in feature space: forgotten prototypes lose their class, retained ones do not.

    min  w sum_F |f (W + Delta) - f W (I - beta B B^T)|^2 + sum_R |f Delta|^2 + lam |Delta|^2, with
    B an orthonormal basis of the forgotten classes' text embeddings. `weight` is w as a multiple of
    |R| / |F|; `lam` is relative to the squared norm of the stacked prototypes over D.
    """
    f = unit_features(p.features)
    forget = f[mask].flatten(0, 1)  # (|F|, D)
    retain = f[~mask].flatten(0, 1)  # (|R|, D)
    B = orthonormal_basis(p.class_text[mask.any(1)])  # (d, r)

    w = weight * max(len(retain), 1) / len(forget)
    X = torch.cat([w**0.5 * forget, retain])
    target_of_forget = -beta * w**0.5 * forget @ p.W @ B  # (|F|, r)
    target_of_retain = retain.new_zeros(len(retain), B.shape[1])
    Y = torch.cat([target_of_forget, target_of_retain])

    ridge = lam * X.square().sum() / X.shape[1]
    return ridge_solution(X, Y, ridge), B.T


def ridge_solution(X: Tensor, Y: Tensor, ridge: Tensor | float) -> Tensor:
    """A (D, d), the minimum of |X A - Y|^2 + ridge |A|^2, for X (n, D) and Y (n, d).

    Solved with as many unknowns as rows when those are fewer than D (push-through identity).
    """
    n, D = X.shape
    if n < D:
        gram = X @ X.T + ridge * torch.eye(n, dtype=X.dtype)
        return X.T @ torch.linalg.solve(gram, Y)
    gram = X.T @ X + ridge * torch.eye(D, dtype=X.dtype)
    return torch.linalg.solve(gram, X.T @ Y)


def thin(delta: Tensor, rtol: float = 1e-4) -> Factors:
    """Factors A (D, r), B (r, d) of Delta (D, d), with r its numerical rank."""
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    strong = s > rtol * s[0]
    r = max(int(strong.sum()), 1)
    return u[:, :r] * s[:r], vh[:r]


# ---- classes in some domains, from a search too


def complete(
    p: TowerPrototypes, mask: Tensor, gain: float = 1.0, doubt: float = 0.2, **settings: float
) -> Factors:
    """`calibrated`, and a search inside the domain does not find the class either.

    `calibrated` moves all images of a domain alike, so by cosine with a prompt they keep their
    order. What tells a cell from the rest of its class and of its domain is neither a class nor a
    domain part but the interaction of both, which embeddings nearly lack and features before the
    projection have. So Delta = calibrated - gain sum_c amount_c i_c r_c^T, with i_c from
    `interaction_detectors`, and `settings` those of `calibrated`; rank = number of forgotten
    classes.
    """
    A, r = calibrated(p, mask, **settings)
    chosen = mask.any(1)
    lead_of_cell = torch.einsum("ckd,cd->ck", _reached(p), class_leads(p.class_text))
    amount = lead_of_cell.amax(1)[chosen].clamp_min(0)  # (n,) as in `calibrated`
    i = interaction_detectors(p, mask, doubt)  # (D, n)
    return A - gain * i * amount, r


def interaction_detectors(p: TowerPrototypes, mask: Tensor, doubt: float = 0.2) -> Tensor:
    """i (D, n), one for each forgotten class: reads where it goes, less class and domain parts.

    Ridge regression of the interaction part of the mask on that of the prototypes, in features of
    unit embeddings. What prototypes say of a class or a domain as a whole is taken out first, and
    so is what texts say of it, seen through W: there the reading is 0. `doubt` is the share of
    their squared length that the class and domain parts of prototypes are off by, spread over all
    D directions. So it is the ridge of a regression on inputs with errors: where the interaction
    is small beside the other parts, as in a CLIP whose features nearly are sums of both, prototypes
    cannot show it, and little is read.
    """
    C, K = mask.shape
    D = len(p.W)
    embeddings = p.features @ p.W  # (C, K, m, d)
    cells = (p.features / embeddings.norm(dim=-1, keepdim=True)).mean(2)  # (C, K, D)

    # What is additive in class and domain, in prototypes and in texts.
    by_class = centred(cells.mean(1))  # (C, D)
    by_domain = centred(cells.mean(0))  # (K, D)
    in_texts = [centred(p.text.mean(1)), centred(p.text.mean(0)), _reached(p).mean((0, 1))[None]]
    additive = [cells.mean((0, 1))[None], by_class, by_domain, torch.cat(in_texts) @ p.W.T]
    rows = normalize(torch.cat(additive), dim=-1)  # (2 + 2 C + 2 K, D)

    X = without(rows, interaction(cells).flatten(0, 1))  # (C K, D)
    everywhere = torch.eye(C)[:, :, None] * mask  # (C, C, K): for each class, where it goes
    Y = torch.stack([interaction(goes[..., None]) for goes in everywhere[mask.any(1)]])
    variance = by_class.square().sum(1).mean() + by_domain.square().sum(1).mean()
    return ridge_solution(X, Y.flatten(1).T, doubt * variance / D * C * K)


def interaction(x: Tensor) -> Tensor:
    """x (C, K, n) without its mean over domains and its mean over classes."""
    return x - x.mean(0, keepdim=True) - x.mean(1, keepdim=True) + x.mean((0, 1))


def _reached(p: TowerPrototypes) -> Tensor:
    """(C, K, d): where pictures end up; prototypes stand for them if there are none."""
    return normalize(p.features @ p.W, dim=-1).mean(2) if p.reached is None else p.reached


# ---- null spaces with another direction to detect, or with random ones


def random_subspace(W: Tensor, rank: int, seed: int = 0) -> Factors:
    """The control: project out a random subspace of the same rank, Delta = -W Q Q^T."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(W.shape[1], rank, generator=generator)
    Q = torch.linalg.qr(noise).Q
    return -W @ Q, Q.T


def cell_embeddings(W: Tensor, features: Tensor) -> Tensor:
    """(C, K, d): unit mean embedding of each cell's prototypes."""
    embeddings = normalize(features @ W, dim=-1)
    return normalize(embeddings.mean(2), dim=-1)


def oblique(
    p: TowerPrototypes,
    mask: Tensor,
    rho: float = 0.8,
    rho2: float = 0.3,
    beta: float = 1.0,
    omega: float = 0.5,
    dual: float = 0.0,
) -> Factors:
    """Detect one direction, remove another: Delta = -beta W sum amount * l r^T; rank = cells.

    For a forgotten cell, m = text + omega * mean of its prototypes. Its detector l is m without a
    share rho of the retained cells of its class and a share rho2 of those of its domain, scaled so
    that a forgotten cell meets 1 from the detectors of its class together, on average: the number
    of domains does not count. Removed is r, a direction of the class alone (`class_direction`). The
    amount is m . r, or, if `p.reached` is known, what takes the score of a synthesised picture down
    to the mean of the other classes, in the domain where that takes most: so beta = 1 means the
    same in every model. With rho = rho2 = 0, beta = 1 and r = m this is `null_space` of one cell:
    the plain projector ties what it detects to what it removes.
    """
    pictures = cell_embeddings(p.W, p.features)
    m = normalize(p.text + omega * pictures, dim=-1)  # (C, K, d)
    columns, rows = [], []
    for c in mask.any(1).nonzero().flatten().tolist():
        forgotten = m[c][mask[c]]  # (n, d)
        domains = mask[c].nonzero().flatten().tolist()
        detectors = torch.stack([_detector(m, mask, (c, k), rho, rho2) for k in domains])
        # The detectors of a class answer to each other's cells: together they should read 1.
        detectors = detectors / (forgotten @ detectors.sum(0)).mean()

        r = class_direction(p.class_text, c, dual)
        amount = forgotten @ r  # (n,)
        if p.reached is not None:
            lead = p.class_text[c] - _others(p.class_text, c).mean(0)
            largest_lead = (p.reached[c] @ lead).max()
            amount = (largest_lead / (r @ lead)).expand(len(detectors))

        columns.append(-beta * (p.W @ detectors.T) * amount)
        rows.append(r.expand(len(detectors), -1))
    return torch.cat(columns, 1), torch.cat(rows)


def oblique_prompts(p: TowerPrototypes, mask: Tensor, **settings: float) -> Factors:
    """`oblique` on the text side, where pictures do not say how far prompts have to move."""
    return oblique(p._replace(reached=None), mask, **settings)


def class_direction(class_text: Tensor, c: int, dual: float) -> Tensor:
    """(d,) unit direction to remove for class c: its text (dual 0), its dual (dual 1), or between.

    The dual is orthogonal to every difference of two other classes: moving along it changes the
    score of class c and no other relative to the rest, so the others do not get mixed up.
    """
    text = class_text[c]
    others = _others(class_text, c)
    lead = text - others.mean(0)
    Q = orthonormal_basis(others[1:] - others[:1], rtol=1e-4)  # (d, r)
    orthogonal = lead - Q @ (Q.T @ lead)
    direction = (1 - dual) * text + dual * normalize(orthogonal, dim=-1)
    return normalize(direction, dim=-1)


def _others(class_text: Tensor, c: int) -> Tensor:
    """(C - 1, d): the texts of all classes but c."""
    return torch.cat([class_text[:c], class_text[c + 1 :]])


def _detector(m: Tensor, mask: Tensor, cell: tuple[int, int], rho: float, rho2: float) -> Tensor:
    """l (d,) of a cell: m without shares of what is retained of its class and domain; l . m = 1."""
    c, k = cell
    own = m[c, k]
    retained_of_class = m[c][~mask[c]]  # (n, d)
    retained_of_domain = m[:, k][~mask[:, k]]
    P = orthonormal_basis(retained_of_class)  # (d, r)
    Q = orthonormal_basis(retained_of_domain)

    l = own - rho * P @ (P.T @ own)  # noqa: E741
    l = l - rho2 * Q @ (Q.T @ l)  # noqa: E741
    return l / (l @ own)


# ---- refinement by gradient


def refined(
    p: TowerPrototypes,
    mask: Tensor,
    start: Factors | None = None,
    scale: float = 30.0,
    drift: float = 1.0,
    lam: float = 1.0,
    steps: int = 40,
) -> Factors:
    """A few dozen L-BFGS steps on Delta, on prototypes alone.

    Forget: -log(1 - p(own class)). Retain: cross-entropy to the model's own predictions, plus drift
    times how far embeddings turn, plus lam |Delta|^2 / |W|^2. `scale` is the logit scale. Starts
    from the factors of another edit, or from zero.
    """
    W, class_text = p.W, p.class_text
    f = unit_features(p.features)
    forget = f[mask].flatten(0, 1)
    retain = f[~mask].flatten(0, 1)
    class_of_cell = torch.arange(len(mask))[:, None].expand_as(mask)
    own_class = class_of_cell[mask].repeat_interleave(f.shape[2])  # of each row of forget

    before = normalize(retain @ W, dim=-1)
    own_predictions = (scale * before @ class_text.T).softmax(-1)

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (delta,) = unknowns
        edited = W + delta

        # -log(1 - p(own class)), without cancellation
        embeddings = normalize(forget @ edited, dim=-1)
        logits = scale * embeddings @ class_text.T
        other_logits = logits.scatter(1, own_class[:, None], float("-inf"))
        forgotten = (logits.logsumexp(1) - other_logits.logsumexp(1)).mean()

        after = normalize(retain @ edited, dim=-1)
        kept = cross_entropy(scale * after @ class_text.T, own_predictions)
        turned = (1 - (after * before).sum(-1)).mean()
        size = delta.square().sum() / W.square().sum()
        return forgotten + kept + drift * turned + lam * size

    if start is None:
        begin = torch.zeros_like(W)
    else:
        A, B = start
        begin = A @ B
    (delta,) = minimise(loss, [begin], steps)
    return thin(delta)


def minimise(
    loss: Callable[[Sequence[Tensor]], Tensor],
    start: Sequence[Tensor],
    steps: int,
    **options: float,
) -> list[Tensor]:
    """Where L-BFGS takes the tensors of `start` on a smooth loss of them.

    `options` go to torch.optim.LBFGS, such as tolerance_change.
    """
    unknowns = [x.detach().clone().requires_grad_() for x in start]
    solver = torch.optim.LBFGS(unknowns, max_iter=steps, line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        solver.zero_grad()
        value = loss(unknowns)
        value.backward()
        return value

    solver.step(closure)
    return [x.detach() for x in unknowns]


# ---- a pull for words that nobody named

# As many words of the tokenizer stand for all words: with 240 captions of a real CLIP in the place
# of words, others were forgotten nearly as well as those (tests/benchmarks/never_named.py).
WORDS = 1000
# A list of words is this long; the pull should hold for short and for long ones.
LISTS = (3, 8)
LISTED = 512  # words in all lists of a length together
# How far a detector's readings stray from 0 and 1: the standard deviation over images, and what it
# misses by on whole domains and classes.
STRAY = 0.3
# An image that is lost where it should stay weighs as much as so many that are still known.
WORTH = 10.0
# How far the leads of single images stray from the mean one, as a share of it.
SOFT = 0.08
# The price of a pull as long as that lead.
LENGTH = 5e-4
STARTS = 4


def known_words(clip: ClipLike, grid: ConceptGrid) -> Tensor:
    """(n, d): unit texts of words that the CLIP knows, all different, and none of them the grid's.

    A word counts if its text lies away from those of the classes, of the words for domains ("oil"
    in "oil painting" is one), of no word at all, and of the words before it: by half of what lies
    between two classes.
    """
    words = clip.vocabulary(WORDS)
    phrases = [phrase for domain in grid.domains for phrase in grid.words_for(domain)]
    domain_words = [*phrases, *(word for phrase in phrases for word in phrase.split())]
    names = [*grid.classes, *domain_words, "", *words]
    templates = grid.class_templates
    prompts = [
        fill(template, "class", name) if name else template.replace("{class}", "").strip()
        for name in names
        for template in templates
    ]
    unit = normalize(clip.text_features(prompts) @ clip.heads["text"].weight, dim=-1)
    texts = normalize(unit.unflatten(0, (-1, len(templates))).mean(1), dim=-1)

    C = len(grid.classes)
    apart = torch.pdist(texts[:C]).mean() / 2
    kept = list(range(len(names) - len(words)))
    for i in range(len(kept), len(names)):
        if torch.cdist(texts[i : i + 1], texts[kept]).min() > apart:
            kept.append(i)
    return texts[kept[len(names) - len(words) :]]


def redirect_every_word(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = 1.1,
    every_word: bool = True,
    worth: float = WORTH,
    **settings: float,
) -> Factors:
    """`redirect`, and for words that it does not name too: Delta = W l (beta gain r_a + q)^T.

    q is the `pull_of_words`; without words, with no room left for it, or if `every_word` is off,
    this is `redirect`, which takes the other settings.
    """
    A, r = redirect(p, mask, beta, **settings)
    if p.words is None or not every_word:
        return A, r
    # redirect's l reads 1 on what goes, and the gain is the largest lead over its answer.
    pictures = mean_embeddings(p.W, p.features) if p.reached is None else p.reached
    answer = (p.class_text @ r[0]).argmax()
    scores = pictures @ p.class_text.T  # (C, K, C)
    own = scores.diagonal(dim1=0, dim2=2).T  # (C, K)
    gain = beta * (own - scores[..., answer]).amax()
    if gain <= 0:  # no picture leads over the answer: nothing of the classes is known
        return A, r
    q = pull_of_words(p, pictures, gain * r[0], worth)
    return A / gain, gain * r + q


def pull_of_words(
    p: TowerPrototypes, pictures: Tensor, named: Tensor, worth: float = WORTH, seed: int = 0
) -> Tensor:
    """q (d,): what to add to the pull `named` (d,), so that no list of words is told apart.

    q is orthogonal to the differences of the named classes, so among these nothing changes. Of an
    image it moves the score of word w by q . w times the reading of the domain's detector: it wins
    over the image's own word if the gap between the two is larger than the lead. One word should
    lie far above the others in nearly every list; but the larger the gaps, the more does a reading
    that is not quite 0 cost where the domain stays. So q is the minimum, by L-BFGS from the
    strongest directions of words, of

        share of a list still known + worth * share lost where it stays + LENGTH (|q| / lead)^2

    over random lists of the words, images of a word being expected where `pictures` (C, K, d) of
    the named classes are: at a share of their texts' leads. Zero if there are too few words, or if
    the named classes leave no direction.
    """
    words, classes = p.words, centred(p.class_text)
    if len(words) < min(LISTS):
        return torch.zeros_like(named)
    # Twice: what the first time leaves of a strong direction, the second takes.
    free = without(classes, without(classes, centred(words)))  # (n, d)
    _, strength, directions = torch.linalg.svd(free, full_matrices=False)
    room = directions[strength > 0.05 * torch.linalg.matrix_norm(centred(words), 2)]  # (k, d)
    if not len(room):
        return torch.zeros_like(named)

    share = _share_of_leads(p.class_text, pictures)
    lead = share * (1 - _off_diagonal(words @ words.T).mean())
    generator = torch.Generator().manual_seed(seed)
    lists = [_lists(len(words), length, generator) for length in LISTS]
    pulled_by_named = words @ named  # (n,)
    along = words @ room.T  # (n, k)

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (z,) = unknowns
        pulled = pulled_by_named + along @ z
        known = torch.stack([_known(words, pulled, part, share, SOFT * lead) for part in lists])
        gone, lost = known.mean(0)
        return gone + worth * lost + LENGTH * z.square().sum() / lead**2

    found = []
    for k in range(min(STARTS // 2, len(room))):
        for sign in (1, -1):
            start = torch.zeros(len(room))
            start[k] = sign * lead / along[:, k].std()
            (z,) = minimise(loss, [start], steps=60)
            found.append((loss([z]).item(), z))
    _, best = min(found, key=lambda pair: pair[0])
    return best @ room


def _share_of_leads(class_text: Tensor, pictures: Tensor) -> Tensor:
    """The mean lead of pictures (C, K, d) over each other class, as a share of that of texts."""
    in_pictures = pictures.mean(1) @ class_text.T  # (C, C)
    in_texts = class_text @ class_text.T
    of_pictures = in_pictures.diagonal().mean() - _off_diagonal(in_pictures).mean()
    of_texts = in_texts.diagonal().mean() - _off_diagonal(in_texts).mean()
    return (of_pictures / of_texts).clamp_min(0.05)


def _off_diagonal(square: Tensor) -> Tensor:
    """The entries of a square matrix that are not on its diagonal."""
    return square[~torch.eye(len(square), dtype=torch.bool)]


def _lists(n: int, length: int, generator: torch.Generator) -> Tensor:
    """(LISTED / length, length) words by index, each list without repeats; all n if that is few."""
    rows = [torch.randperm(n, generator=generator)[:length] for _ in range(LISTED // length)]
    return torch.stack(rows)


def _known(words: Tensor, pulled: Tensor, lists: Tensor, share: Tensor, soft: Tensor) -> Tensor:
    """(2,): the share of a list that is still known where it goes, and that is lost where it stays.

    Over readings of the detector around 1 and around 0, which three points of each stand for.
    """
    texts = words[lists]  # (lists, length, d)
    scores = share * texts @ texts.mT  # (lists, word of the image, word of the answer)
    push = pulled[lists][:, None, :]

    def right(reading: float) -> Tensor:
        answers = ((scores + reading * push) / soft).softmax(-1)
        return answers.diagonal(dim1=1, dim2=2).mean()

    far = 3**0.5 * STRAY  # with weights of 1/6, 2/3, 1/6 the first moments of a Gaussian
    gone = (right(1 - STRAY) + right(1) + right(1 + STRAY)) / 3
    stays = (right(-far) + 4 * right(0) + right(far)) / 6
    return torch.stack([gone, right(0) - stays])
