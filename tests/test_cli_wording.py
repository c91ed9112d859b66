"""Messages about arguments, in the words of the command line."""

from __future__ import annotations

import pytest

from fastnet.cli import asking, wording
from fastnet.cli import training as commands

WORDED = [
    ("y: for quantities pass task='regression'", "y: for quantities pass --task regression"),
    ("task is 'x'; loss='a b', epochs=3", "--task is 'x'; --loss 'a b', --epochs 3"),
    ("say which, as in label='name' or label=0.", "say which, as in --label name or label=0."),
    ('label="it\'s"; (label=-1)', "--label 'it'\"'\"'s'; (--label -1)"),
    ("say header=True or header=False", "say --header or --no-header"),
    ("go on with resume='auto', or", "go on with --resume, or"),
    ("force=True, force=False, quiet=True", "--force, force=False, --quiet"),
    ("batch_size is 0; batch_size is 1", "--batch-size is 0; batch_size is 1"),
    ("the network's learning_rate=1e-3, ", "the network's --learning-rate 1e-3, "),
]
LEFT = [
    "as in pandas.read_csv('t.csv', dtype=str).dropna(subset=['a']).to_csv('w', header=False)",
    "as in train('digits', task='x')",
    "columns 'task=5', \"label=\", 'batch_size is 0'",
    "y has 3 rows; the task is hard, the label is text",
    "data is 'x', model is none",
    "no such file: /tmp/one_hot/batch_size.csv, batch_size.csv, my-one_hot, my batch_size x/y.csv",
    "label=yes/x.csv: the file is empty; hidden=3.csv, hidden=3/x, label='a'.csv, x/epochs=3",
    "one_hot: expected a list; in one_hot, too; the columns are 'it\\'s \"x\" label=3 ', 'a'",
    "the labels' column \"it's label=3 \" is in one_hot",
    "t.csv: label is column 3, task is 'x'; epochs=True, label=None, resume='x', hidden=(3,)",
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
