"""Messages about arguments, in the words of the command line."""

from __future__ import annotations

import pytest

from fastnet.cli import asking, wording
from fastnet.cli import training as commands

WORDED = [
    ("y: for quantities pass task='regression'", "y: for quantities pass --task regression"),
    ("task is 'x'; loss='a b', epochs=3.", "--task is 'x'; --loss 'a b', --epochs 3."),
    ("say it with label=, by name", "say it with --label, by name"),
    ("say header=True or header=False", "say --header or --no-header"),
    ("batch_size is 0; or one_hot, (data_dir)", "--batch-size is 0; or --one-hot, (--data-dir)"),
    ("the network's input_scale=1/255", "the network's --input-scale 1/255"),
]
LEFT = [
    "as in pandas.read_csv('t.csv', dtype=str).dropna(subset=['a']).to_csv('w', header=False)",
    "as in train('digits', task='x')",
    "columns 'task=5', \"label=\", 'batch_size is 0'",
    "y has 3 rows; the task is hard, the label is text",
    "data is 'x', model is none",
    "no such file: /tmp/one_hot/batch_size.csv, batch_size.csv, my-one_hot",
    "subtask=5, task.x=5",
    "",
]


@pytest.mark.parametrize(("message", "worded"), [*WORDED, *zip(LEFT, LEFT, strict=True)])
def test_options_are_called_by_their_names(message: str, worded: str) -> None:
    assert wording.with_options(message, commands.train) == worded


def test_what_the_command_does_not_take_is_left() -> None:
    message = "pass task='regression'; or label=3"
    assert wording.with_options(message, asking.evaluate) == "pass task='regression'; or --label 3"
    assert wording.with_options(message, lambda: None) == message
