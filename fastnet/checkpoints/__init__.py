"""Checkpoints: from the newest one a training that was ended goes on to the same bits.

A checkpoint is a model file (`modelfile`) that has beside the network what the training needs: the
optimizer's state and step, the history, where in the epoch it stands, and what callbacks remember.
The order of rows follows from seed and epoch and is not in it. It also says of which training it
is, so that no other one goes on from it.

``folder`` knows the names of the files, ``identity`` which training it is, ``file`` what stands in
one; ``resuming`` begins with the newest, and ``saving`` writes them.
"""

from fastnet.checkpoints.folder import Checkpoints, chosen, found_in
from fastnet.checkpoints.resuming import opened

__all__ = ["Checkpoints", "chosen", "found_in", "opened"]
