"""Pictures for learning and teaching: what a network sees, says, and has learned.

>>> from fastnet import plots
>>> run = fastnet.train()
>>> plots.curves(run).savefig("curves.png")

Every picture is a matplotlib ``Figure`` of its own: no window opens, no display is needed, and the
backend that you have chosen for matplotlib stays. matplotlib comes with
``python -m pip install 'fastnet-nn[plot]'`` and is imported by the first picture; `text_curve` and
`text_image` draw with characters and do without.
"""

from fastnet.plots.inside import digit, first_weights
from fastnet.plots.mathematics import activations, descent
from fastnet.plots.results import confusion, curves, predictions
from fastnet.plots.saving import check_folder, save_all
from fastnet.plots.terminal import text_curve, text_image

__all__ = [
    "activations",
    "check_folder",
    "confusion",
    "curves",
    "descent",
    "digit",
    "first_weights",
    "predictions",
    "save_all",
    "text_curve",
    "text_image",
]
