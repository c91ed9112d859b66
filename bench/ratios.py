"""fastnet's speed in multiples of its peers', out of the repeats that ran side by side."""

from __future__ import annotations

from bench import measure
from bench.results import MEASURED, Ratio, TrainerRecord
from bench.trainers import OURS

BEST = "best"
# Trainers by library; fastnet's own second backend is no peer, and compared all the same.
FAMILIES = {
    "PyTorch": ("torch", "torch-compile", "torch-step"),
    "scikit-learn": ("scikit-learn",),
    "JAX": ("jax",),
}
PEERS = tuple(name for members in FAMILIES.values() for name in members)


def ratios(trainers: dict[str, TrainerRecord], floors: dict[str, float]) -> dict[str, Ratio]:
    """Return the ratio to the best peer, to every family and to every trainer.

    Of several trainers the one with the highest median counts, in all repeats.

    Parameters
    ----------
    trainers : dict of str to TrainerRecord
    floors : dict of str to float
        What a ratio must be, by ``best`` or a family's name.

    Returns
    -------
    dict of str to Ratio
        Only of what was measured to the end; empty without fastnet's own figures.
    """
    measured = {
        name: record
        for name, record in trainers.items()
        if record.state == MEASURED and record.speed is not None
    }
    if OURS not in measured:
        return {}
    ours = measured.pop(OURS).samples_per_second
    groups = {BEST: PEERS, **FAMILIES, **{name: (name,) for name in measured}}
    result = {}
    for group, members in groups.items():
        candidates = [name for name in members if name in measured]
        if candidates:
            peer = max(candidates, key=lambda name: _median(measured[name]))
            paired = measure.paired_ratio(ours, measured[peer].samples_per_second)
            result[group] = Ratio(peer, paired, floors.get(group))
    return result


def _median(record: TrainerRecord) -> float:
    return record.speed.median if record.speed else 0.0
