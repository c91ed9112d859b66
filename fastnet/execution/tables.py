"""The layer table: a network as records of integers, which compiled code and capture can read.

Record 0 is the input, the last one the output with its loss, each one between a layer; a record
names by index the record that it reads. The last layer's own activation stands in the output
record, so that cross-entropies find the logits and predictions the activated outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet.execution import codes
from fastnet.layers import Dense
from fastnet.losses import Loss

RECORD = np.dtype(
    [
        ("kind", np.int64),  # INPUT, DENSE or OUTPUT
        ("input", np.int64),  # the record whose A this one reads
        ("inputs", np.int64),  # units before
        ("outputs", np.int64),  # units after
        ("weights", np.int64),  # where W begins in theta
        ("biases", np.int64),  # where b begins in theta
        ("activation", np.int64),
        ("alpha", np.float64),
        ("a", np.int64),  # where A begins in work.values, in units of the capacity
        ("z", np.int64),  # where Z begins there; the same place where Z need not be kept
        ("d", np.int64),  # where dA and then dZ begin in work.deltas
        ("adds", np.int64),  # 1: this record adds to its input's dA, where another one wrote
        ("loss", np.int64),  # of the output record
        ("elementwise", np.int64),  # of the output record: 1 for mse and mae
        ("rule", np.int64),  # of the output record: how hits are decided
        ("threshold", np.float64),  # of the output record
    ]
)


class Table(NamedTuple):
    """A layer table and the sizes of the buffers that it points into."""

    records: np.ndarray[Any, np.dtype[Any]]
    parameters: int  # length of theta
    values: int  # length of work.values per row of capacity
    deltas: int  # length of work.deltas per row of capacity
    outputs: int


def build(layers: Sequence[Dense], loss: Loss, rule: int, *, keep_z: bool = False) -> Table:
    """Lay out a chain of layers; ``keep_z`` keeps every Z, as ``Network.trace`` needs it."""
    records = np.zeros(len(layers) + 2, RECORD)
    records[0]["outputs"] = layers[0].inputs
    parameters, values, deltas = 0, layers[0].inputs, 0

    for index, layer in enumerate(layers, 1):
        record = records[index]
        is_last = index == len(layers)
        record["kind"] = codes.DENSE
        record["input"] = index - 1
        record["inputs"], record["outputs"] = layer.inputs, layer.outputs
        record["weights"] = parameters
        record["biases"] = parameters + layer.inputs * layer.outputs
        parameters += layer.parameter_count
        record["activation"] = codes.LINEAR if is_last else layer.activation.code
        record["alpha"] = layer.activation.alpha
        record["z"] = values
        if not is_last and (keep_z or layer.activation.needs_z):
            values += layer.outputs
        record["a"] = values
        values += layer.outputs
        record["d"] = deltas
        deltas += layer.outputs

    last, output = layers[-1], records[-1]
    output["kind"] = codes.OUTPUT
    output["input"] = len(layers)
    output["inputs"] = output["outputs"] = last.outputs
    output["activation"] = last.activation.code
    output["alpha"] = last.activation.alpha
    output["z"] = records[-2]["a"]
    output["a"] = values
    values += last.outputs
    output["d"] = records[-2]["d"]
    output["loss"] = loss.code
    output["elementwise"] = int(loss.elementwise)
    output["rule"] = rule
    output["threshold"] = last.activation.score_threshold
    return Table(records, parameters, values, deltas, last.outputs)
