"""The network: layers over one flat parameter vector, trained, asked, and looked into."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import checks, fitting, losses
from fastnet.callbacks import Callback
from fastnet.data import arrays, columns, placement, preparation, tabular, targets
from fastnet.data.columns import Layout
from fastnet.data.preparation import Preparation
from fastnet.data.targets import Codec
from fastnet.errors import BackendUnavailableError
from fastnet.execution import codes, registry
from fastnet.execution.buffers import Buffer, Data
from fastnet.execution.executor import LayerTrace, Snapshot
from fastnet.fitting import Rows
from fastnet.history import History
from fastnet.layers import Dense, check_network
from fastnet.losses import Loss
from fastnet.optimizers import Optimizer
from fastnet.randomness import Provider, provider

if TYPE_CHECKING:
    from fastnet.checkpoints import Checkpoints
    from fastnet.checkpoints.file import Saved

Array = np.ndarray[Any, np.dtype[Any]]
Preparations = tuple[Preparation | None, Preparation | None]  # of features and of targets
# What is put back if a training ends before its first epoch does.
LEARNED = ("_codec", "_optimizer", "preparation", "target_preparation", "layout", "training")


class Network:
    """A feed-forward network with gradients derived by hand.

    Several threads may ask one network at once: they take turns. It is trained by one at a time.

    Parameters
    ----------
    layers : sequence of Dense
        Each layer's inputs are the outputs of the one before.
    loss : str or Loss
        ``mse mae log_loss categorical_crossentropy`` (``binary_crossentropy`` is ``log_loss``).
    backend : str, default "auto"
        ``numpy``, ``numba``, ``cupy``, or ``auto``: what the environment variable
        ``FASTNET_BACKEND`` names, else a usable GPU, else Numba, else NumPy.
    dtype : str or dtype, default "float32"
        float32 or float64: parameters, activations and gradients.
    seed : int or Provider, default 0
        Where initial parameters and the order of rows come from.
    threads : int, optional
        How many threads a backend may use; ``FASTNET_NUM_THREADS`` where it is None. Results do
        not depend on it. The NumPy backend runs in one thread (NumPy's BLAS minds its own).
    precision : str, optional
        None for arithmetic in ``dtype``; ``"tf32"`` is for GPUs alone.
    input_scale : float, default 1.0
        Features are multiplied by it on their way in, in training and in prediction.
    preparation : str or Preparation, optional
        ``min_max`` or ``standard``: column by column, learned from the rows of the first `fit`, and
        applied to all features from then on. For features of unlike sizes, as tables have them.
    target_preparation : str or Preparation, optional
        The same for the targets of a regression, output by output. `predict` returns the targets'
        own unit again; losses, gradients and `forward` are those of prepared targets. For
        quantities far from the size of 1, such as prices, which are hardly learned as they are.
    task : str, default "auto"
        ``classification``, ``regression``, or ``auto``: strings, integers and booleans are
        classes, floats are quantities.

    Raises
    ------
    TypeError, ValueError
        If the layers do not chain, or output and loss do not fit, or an argument is off.
    BackendUnavailableError
        If the named backend cannot run here.

    Examples
    --------
    >>> net = fastnet.Network(
    ...     [fastnet.Dense(64, 32, "relu"), fastnet.Dense(32, 10, "softmax")],
    ...     loss="categorical_crossentropy",
    ... )
    """

    def __init__(
        self,
        layers: Sequence[Dense],
        *,
        loss: str | Loss,
        backend: str = "auto",
        dtype: Any = "float32",
        seed: int | Provider = 0,
        threads: int | None = None,
        precision: str | None = None,
        input_scale: float = 1.0,
        preparation: str | Preparation | None = None,
        target_preparation: str | Preparation | None = None,
        task: str = "auto",
    ) -> None:
        self.loss = losses.loss(loss)
        self.layers = check_network(layers, self.loss)
        self.dtype = _float_dtype(dtype)
        self.provider = provider(seed)
        self.threads = _threads(threads)
        self.input_scale = checks.fits(
            checks.real_number(input_scale, "input_scale", above=0), "input_scale", self.dtype
        )
        inputs, outputs = self.layers[0].inputs, self.layers[-1].outputs
        self.preparation = _preparation(preparation, inputs, self.input_scale)
        self.layout = Layout()
        self.task = targets.check_task(task)
        self.target_preparation = _target_preparation(
            target_preparation, outputs, self.loss, self.task
        )
        self.backend, self.backend_reason = registry.choose(backend)
        self.precision = _precision(precision, self.backend)
        self.epoch = 0
        self.training: dict[str, Any] | None = None
        self._codec: Codec | None = None
        self._optimizer: Optimizer | None = None
        self._start_executor()
        self.parameters = self.provider.parameters(self.layers)

    def _start_executor(self) -> None:
        self.executor = registry.executor_class(self.backend)(
            self.layers, self.loss, self.dtype, self.threads, self.precision
        )
        self._busy = threading.Lock()

    # -- what it is -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers))
        return (
            f"Network([{layers}], loss={self.loss.name!r}, backend={self.backend!r}, "
            f"dtype={self.dtype.name!r})"
        )

    @property
    def parameter_count(self) -> int:
        """How many numbers training may change."""
        return sum(layer.parameter_count for layer in self.layers)

    @property
    def parameters(self) -> Array:
        """The flat parameters: layer by layer W (inputs, outputs) row by row, then b; a copy.

        Setting it copies the vector in; it must have ``parameter_count`` finite real numbers.
        """
        return self.executor.theta

    @parameters.setter
    def parameters(self, vector: Any) -> None:
        array = arrays.as_array(vector, "parameters")
        if array.shape != (self.parameter_count,):
            raise ValueError(
                f"parameters has shape {array.shape}; expected ({self.parameter_count},): "
                f"layer by layer the weights, then the biases"
            )
        arrays.require_finite(array, "parameters")
        if array.dtype == np.uint8:
            array = array.astype(self.dtype)
        self.executor.theta = arrays.in_dtype(array, self.dtype, "parameters")

    def blocks(self) -> list[tuple[str, int, tuple[int, ...]]]:
        """Return name, first position and shape of every block of ``parameters``.

        ``layer_1.weights`` (inputs, outputs), ``layer_1.biases`` (outputs,), ``layer_2.weights``,
        and so on.
        """
        result: list[tuple[str, int, tuple[int, ...]]] = []
        begin = 0
        for number, layer in enumerate(self.layers, 1):
            for part, shape in (
                ("weights", (layer.inputs, layer.outputs)),
                ("biases", (layer.outputs,)),
            ):
                result.append((f"layer_{number}.{part}", begin, shape))
                begin += math.prod(shape)
        return result

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the parameters by name: ``layer_1.weights``, ``layer_1.biases``, ..."""
        theta = self.parameters
        return {
            name: theta[begin : begin + math.prod(shape)].reshape(shape)
            for name, begin, shape in self.blocks()
        }

    @property
    def seed(self) -> int:
        """The seed; 0 where a provider without one was given."""
        return int(getattr(self.provider, "seed", 0))

    @property
    def known_codec(self) -> Codec | None:
        """What training has found out about the targets; None before."""
        return self._codec

    def know(self, codec: Codec) -> None:
        """Take it as known what the targets are."""
        self._codec = codec

    @property
    def codec(self) -> Codec:
        """What is known of the targets; before training, classes are 0, 1, ..."""
        if self._codec is not None:
            return self._codec
        last = self.layers[-1]
        return targets.untrained_codec(last.outputs, last.activation, self.loss, self.task)

    @property
    def classes(self) -> Array | None:
        """The class labels, sorted; None for regression and multilabel targets."""
        return self.codec.classes

    @property
    def task_in_use(self) -> str:
        """``classification`` or ``regression``, as the targets have decided."""
        return self.codec.task

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""
        return self.executor.is_finite()

    def to(self, backend: str | None = None, *, dtype: Any = None) -> Network:
        """Return the same network on another backend or in another dtype, as a copy.

        Parameters, classes, optimizer state and epoch counter come along.

        Parameters
        ----------
        backend : str, optional
            By default the same; ``"cupy"`` is the GPU that is selected in CuPy now.
        dtype : str or dtype, optional
            By default the same.

        Returns
        -------
        Network

        Raises
        ------
        BackendUnavailableError
            If the backend cannot run here.
        ValueError
            If the name or the dtype is not known.
        """
        other = Network.__new__(Network)
        other.__dict__ |= self.__dict__
        if backend is not None:
            other.backend, other.backend_reason = registry.choose(backend)
            other.precision = _precision(self.precision, other.backend)
        other.dtype = self.dtype if dtype is None else _float_dtype(dtype)
        other._start_executor()
        snapshot = self.executor.snapshot()
        state = self.executor.get(snapshot.state)
        other._adopt(self.parameters, state, snapshot.step)
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network into a file, which appears whole or not at all.

        Parameters, classes, preparation and a summary of the training go with it; `fastnet.load`
        opens it on any backend. The optimizer's state does not.

        Parameters
        ----------
        path : str or path
            Best with the ending ``.safetensors``; an older file of that name is replaced.

        Raises
        ------
        OSError
            If it cannot be written; an older file is then as it was.
        ValueError
            If the network has parts that are not fastnet's own.

        Examples
        --------
        >>> net.save("model.safetensors")
        >>> net = fastnet.load("model.safetensors", backend="numpy")
        """
        from fastnet import modelfile  # which makes networks

        modelfile.save(self, path)

    def export_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as ONNX, for programs that run networks and do not train them.

        What onnxruntime gives for random rows is compared with the network first. The file takes
        ``X`` (rows, inputs) in the network's dtype, in float64 where there is a preparation, which
        is part of the file, as the input scale is. It gives ``outputs``, as `forward`;
        ``prediction``, as `predict`, with labels of bytes as texts by latin-1; and
        ``probabilities``, as `predict_proba`, where there are any.

        Texts of tables become features of zeros and ones before the file, which takes numbers
        alone: in the order of ``features`` in its metadata, ``size`` or ``city=Rome``. They are
        under the key ``fastnet``, as JSON, with the table's ``columns``, the ``label``'s heading
        and the ``classes``.

        Parameters
        ----------
        path : str or path
            Best with the ending ``.onnx``; an older file of that name is replaced.

        Raises
        ------
        ImportError
            If onnx or onnxruntime are not installed.
        OSError
            If it cannot be written; an older file is then as it was.
        RuntimeError
            If onnxruntime's outputs or probabilities differ by more than 1e-5 of their size or of
            1, or predictions by more than rounding explains; or if the outputs are not finite.
        ValueError
            If parameters are NaN or infinite, the network is too large for the format (2 GiB), or
            one of its preparations has learned nothing yet.
        """
        from fastnet import onnxfile

        onnxfile.export(self, path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self.to()

    def __getstate__(self) -> dict[str, Any]:
        """Return settings, parameters and optimizer state, and no buffers or rows."""
        snapshot = self.executor.snapshot()
        kept = {k: v for k, v in self.__dict__.items() if k not in ("executor", "_busy")}
        theta, state = self.parameters, self.executor.get(snapshot.state)
        return {**kept, "snapshot": Snapshot(theta, state, snapshot.step)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        theta, optimizer_state, step = state.pop("snapshot")
        self.__dict__ |= state
        try:
            registry.choose(self.backend)
        except BackendUnavailableError as error:
            raise BackendUnavailableError(
                f"{error} The network was on this backend when it was pickled; to open it "
                f"anywhere, pickle net.to('numpy')."
            ) from None
        self._start_executor()
        self._adopt(theta, optimizer_state, step)

    def _adopt(self, theta: Array, state: Array, step: int) -> None:
        """Take parameters and optimizer state that came from another executor."""
        self.parameters = theta
        self.executor.reset_state(len(state))
        mine = self.executor.snapshot()
        state = self.executor.put(state.astype(self.dtype))
        self.executor.restore(mine._replace(state=state, step=step))

    # -- training ---------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        optimizer: str | Optimizer | None = None,
        batch_size: int | None = 32,
        epochs: int = 10,
        validation: float | tuple[Any, Any] | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
        checkpoint: str | os.PathLike[str] | Checkpoints | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs more.

        Called again with the same optimizer settings, it goes on with the optimizer's state and
        the epoch counter; with other settings the state starts anew.

        Parameters
        ----------
        X : array_like
            (rows, inputs) real and finite. uint8 stays as it is and is scaled batch by batch. With
            ``backend="cupy"`` it may lie on the GPU: a CuPy array, or what speaks DLPack. It is
            then used where it lies, if it is contiguous, in uint8 or the network's dtype. A
            preparation takes place on the host. The columns of a data frame are remembered by
            their names, and found by them in frames that come later.
        y : array_like
            (rows,) labels or quantities, or (rows, outputs): one-hot, multilabel or quantities.
        optimizer : str or Optimizer, optional
            Settings; by default those of the last call, and ``adam`` in the first.
        batch_size : int or None, default 32
            Rows per step: 1 is one sample at a time, None is all rows. A short last batch is
            trained on, too.
        epochs : int, default 10
            Passes over the rows.
        validation : float, (X, y) or None, default None
            A share of the rows to keep back (stratified by class), or rows of their own.
        shuffle : bool, default True
            Whether every epoch visits the rows in a new order.
        sample_weight : array_like, optional
            (rows,) finite numbers from 0 on; losses and accuracies are weighted means.
        callbacks : sequence of callables, default ()
            Called with an `EpochEnd` after every epoch.
        progress : bool or None, default None
            Show progress on stderr: True, False, or None for only on a terminal.
        checkpoint : path or Checkpoints, optional
            A folder to write checkpoints into, after every epoch unless `Checkpoints` says
            otherwise. ``epochs`` is then the training's total.
        resume : str or path, optional
            Go on from a checkpoint: a file, a folder's newest, or ``"auto"`` for the newest in
            ``checkpoint``, if there is one. On the same backend the result has the same bits as if
            the training had never been ended. A finished training is not trained further.

        Returns
        -------
        History
            The figures of these epochs, and of those before the checkpoint.

        Raises
        ------
        TypeError, ValueError
            If an argument is off, or the checkpoint is of another training; nothing is changed
            then.
        OSError
            If a checkpoint cannot be written or read; those that were written stay.
        DivergenceError
            If a value stops being finite; the last good epoch's parameters are kept.
        TrainingInterrupted
            If Ctrl-C is pressed; the last finished epoch's parameters are kept, or those of the
            checkpoint, if no epoch was finished since.
        """
        if optimizer is None:
            optimizer = self._optimizer or "adam"
        settings = fitting.Settings.checked(
            optimizer=optimizer,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=shuffle,
            callbacks=callbacks,
            progress=progress,
        )
        settings.optimizer.check_dtype(self.dtype)
        from fastnet import checkpoints  # which make networks

        rows, codec = self.rows(X, y, sample_weight, codec=self._codec, training=True, raw=True)
        split = fitting.split_validation(self, rows, codec, validation)
        saved, saver = checkpoints.opened(self, checkpoint, resume, split, codec, settings)
        known = self if saved is None else saved.network
        preparations = _learned(known.preparation, known.target_preparation, split.training)
        rows = self._prepared(split.training, preparations, ("X", "y"))
        held = split.held
        if held is not None:
            held = self._prepared(held, preparations, ("validation X", "validation y"))
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "this network is being trained already, by another thread or by the fit that "
                "called this function; train a copy: net.to()"
            )
        try:
            if saved is not None:
                self._go_on(saved, codec, settings.optimizer)
            before = {name: getattr(self, name) for name in LEARNED}
            epoch, snapshot = self.epoch, self.executor.snapshot()
        except BaseException:
            self._busy.release()
            raise
        try:
            self._codec = codec
            self.preparation, self.target_preparation = preparations
            self.layout = self.layout if self.layout.columns else columns.layout_of(X)
            self.executor.set_rule(codec.rule(self.layers[-1].outputs))
            if settings.optimizer != self._optimizer:
                self.executor.reset_state(settings.optimizer.slots)
                self._optimizer = settings.optimizer
            return fitting.train(self, rows, held, settings, saved, saver)
        except BaseException:
            if self.epoch == epoch:  # nothing was learned: as if it had not been called
                self.__dict__ |= before
                self.executor.restore(snapshot)
            raise
        finally:
            self._busy.release()

    def _go_on(self, saved: Saved, codec: Codec, optimizer: Optimizer) -> None:
        """Take over what a checkpoint has; its targets and its optimizer are those of now."""
        self._adopt(saved.network.parameters, saved.state, saved.position.step)
        self._codec, self._optimizer = codec, optimizer
        self.epoch = saved.network.epoch
        self.preparation = saved.network.preparation
        self.target_preparation = saved.network.target_preparation
        self.layout = saved.network.layout
        self.training = saved.network.training

    # -- asking -----------------------------------------------------------------------------------

    def forward(self, X: Any) -> Array:
        """Return the raw outputs after the last activation.

        Parameters
        ----------
        X : array_like
            (rows, inputs), as in `fit`.

        Returns
        -------
        array
            (rows, outputs) in the network's dtype; a CuPy array for X on the GPU.

        Raises
        ------
        TypeError, ValueError
            If X does not fit the network.
        """
        return self._where_it_was(X, self._outputs(X))

    def predict(self, X: Any) -> Array:
        """Return class labels as they were given, or values for regression in the targets' unit.

        Parameters
        ----------
        X : array_like
            (rows, inputs), as in `fit`.

        Returns
        -------
        array
            (rows,) labels or values; (rows, 1) where the targets had one column; (rows, outputs)
            zeros and ones for multilabel targets, and values for several outputs. Values are in
            the network's dtype; in float64 with a ``target_preparation``. In the memory in which X
            lies: a CuPy array for X on the GPU (except labels of text).

        Raises
        ------
        TypeError, ValueError
            If X does not fit the network.
        """
        codec, last = self.codec, self.layers[-1]
        if codec.task == "classification":
            return self._where_it_was(X, self._decided(self._outputs(X, logits=True)))
        values = self._outputs(X)
        if self.target_preparation is not None:
            values = self.target_preparation.undo(self.executor.on_host(values))
        is_vector = codec.vector and last.outputs == 1
        return self._where_it_was(X, values.reshape(len(values)) if is_vector else values)

    def _decided(self, logits: Buffer) -> Array:
        """Return the classes, or zeros and ones, that the outputs stand for."""
        codec, last = self.codec, self.layers[-1]
        # Classes are decided on logits: outputs that have saturated are equal, logits are not.
        z = self.executor.on_host(logits)
        above: Array = z > z.dtype.type(last.activation.score_threshold)
        if codec.classes is None:
            return above.astype(np.int64)
        chosen = above[:, 0].astype(np.intp) if last.outputs == 1 else z.argmax(axis=1)
        labels: Array = codec.classes[chosen]
        return labels if codec.vector else labels[:, None]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of every class.

        A single sigmoid output p becomes the two columns 1 - p and p. Several sigmoid outputs are
        a probability each, of one class against all others: their rows need not sum to 1.

        Parameters
        ----------
        X : array_like
            (rows, inputs), as in `fit`.

        Returns
        -------
        array
            (rows, classes) in the network's dtype; a CuPy array for X on the GPU.

        Raises
        ------
        TypeError, ValueError
            If X does not fit, or if the outputs are no probabilities.
        """
        self._require_probabilities()
        return self._where_it_was(X, self._probabilities(self._outputs(X)))

    def predict_both(self, X: Any) -> tuple[Array, Array]:
        """Return what `predict` and `predict_proba` return, after one pass through the network.

        Parameters
        ----------
        X : array_like
            (rows, inputs), as in `fit`.

        Returns
        -------
        labels, probabilities : array

        Raises
        ------
        TypeError, ValueError
            As `predict_proba` does.
        """
        self._require_probabilities()
        z, outputs = self.executor.predict_both(self._features(X), self.input_scale)
        labels, probabilities = self._decided(z), self._probabilities(outputs)
        return self._where_it_was(X, labels), self._where_it_was(X, probabilities)

    def _require_probabilities(self) -> None:
        last = self.layers[-1].activation
        if self.task_in_use != "classification" or last.name not in ("sigmoid", "softmax"):
            raise ValueError(
                f"the network's outputs are no probabilities (task {self.task_in_use}, last "
                f"activation {last}); use forward(X) for the raw outputs"
            )

    def _probabilities(self, outputs: Buffer) -> Array:
        p: Array = self.executor.on_host(outputs)
        return np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p

    def evaluate(self, X: Any, y: Any, *, sample_weight: Any = None) -> dict[str, float]:
        """Return ``loss`` with ``accuracy`` (classification) or ``r2`` (regression).

        With a ``target_preparation`` the loss is that of prepared targets, as in training.
        The accuracy of multilabel targets counts the rows in which every label is right. R2 is
        the mean over outputs of 1 - (residual sum of squares) / (total sum of squares); an output
        whose targets are all equal counts 1 if it is met exactly and 0 otherwise.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`; losses, accuracies and R2 are weighted.

        Returns
        -------
        dict of str to float

        Raises
        ------
        TypeError, ValueError
            If the rows do not fit the network.
        """
        rows, codec = self.rows(X, y, sample_weight, codec=self._codec, training=False)
        self.executor.set_rule(codec.rule(self.layers[-1].outputs))
        return self.scores(rows, self._load(rows))

    def scores(self, rows: Rows, data: Data) -> dict[str, float]:
        """Return what `evaluate` returns, for rows that are checked and loaded."""
        loss, hits = self.executor.evaluate(data)
        result = {"loss": loss / rows.total_weight}
        if self.executor.table.records[-1]["rule"] != codes.NO_HITS:
            return result | {"accuracy": hits / rows.total_weight}
        return result | {"r2": self._r2(rows)}

    def _r2(self, rows: Rows) -> float:
        outputs = self.executor.on_host(self.executor.predict(rows.features, self.input_scale))
        w = np.ones(len(rows)) if rows.weights is None else rows.weights.astype(np.float64)
        t = rows.targets.astype(np.float64)
        if self.target_preparation is not None and rows.quantities is not None:
            # Prepared ones are rounded to the dtype: far from what was learned they may be equal.
            outputs, t = self.target_preparation.undo(outputs), rows.quantities
        with np.errstate(all="ignore"):  # an overflow shows in the result, which is not finite
            residual = w @ (t - outputs.astype(np.float64)) ** 2
            spread = w @ (t - np.average(t, axis=0, weights=w)) ** 2
            counted = t[w > 0]
            varies = counted.max(axis=0) > counted.min(axis=0)
            constant = np.where(residual == 0, 1.0, 0.0)
            r2 = np.where(varies, 1 - residual / np.where(varies, spread, 1), constant)
        return float(r2.mean())

    # -- looking into it --------------------------------------------------------------------------

    def loss_and_gradient(
        self, X: Any, y: Any, *, sample_weight: Any = None
    ) -> tuple[float, Array]:
        """Return the loss over all rows and its gradient by the flat parameters.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.

        Returns
        -------
        loss : float
        gradient : array
            (parameter_count,), in the order of ``parameters``.
        """
        rows, _ = self.rows(X, y, sample_weight, codec=self._codec, training=False)
        total = rows.total_weight
        loss, gradient = self.executor.gradient(self._load(rows), 1 / total)
        return loss / total, gradient

    def trace(self, X: Any, y: Any, *, sample_weight: Any = None) -> list[LayerTrace]:
        """Return ``Z A dZ dW db`` of every layer for all rows at once, as copies.

        ``trace[0].Z`` (or ``trace[0]["Z"]``) is what the first layer's activation is given, the
        gradients are those of the loss that `loss_and_gradient` returns.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As in `fit`.

        Returns
        -------
        list of LayerTrace
            One per layer: Z, A, dZ (rows, outputs), dW (inputs, outputs), db (outputs,).
        """
        rows, _ = self.rows(X, y, sample_weight, codec=self._codec, training=False)
        return self.executor.trace(self._load(rows), 1 / rows.total_weight)[1]

    # -- shared -----------------------------------------------------------------------------------

    def rows(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        codec: Codec | None,
        training: bool,
        raw: bool = False,
        names: tuple[str, str] = ("X", "y"),
    ) -> tuple[Rows, Codec]:
        """Check rows and encode their targets; nothing of the network changes.

        ``raw`` rows are not prepared yet.
        """
        target_dtype = self.dtype
        if self.target_preparation is not None:  # which needs them as exact as they came
            target_dtype = np.dtype(np.float64)
        features = self._raw_features(X, names[0])
        y, sample_weight = self._on_host(y, names[1]), self._on_host(sample_weight, "sample_weight")
        last = self.layers[-1]
        encoded, codec = targets.encode(
            y,
            len(features),
            last.outputs,
            last.activation,
            self.loss,
            self.task,
            target_dtype,
            codec,
            training=training,
            name=names[1],
            name_of_x=names[0],
        )
        if self.target_preparation is not None and codec.task == "classification":
            raise ValueError(
                f"target_preparation is {self.target_preparation.kind!r} and {names[1]} has "
                f"classes; leave it out, or pass task='regression' if they are quantities"
            )
        weights = arrays.sample_weights(sample_weight, len(features), self.dtype)
        rows = Rows(features, encoded, weights)
        if not raw:
            rows = self._prepared(rows, (self.preparation, self.target_preparation), names)
        return rows, codec

    def _outputs(self, X: Any, *, logits: bool = False) -> Buffer:
        """Return what comes out for X, or what goes into the last activation."""
        return self.executor.predict(self._features(X), self.input_scale, logits=logits)

    def _features(self, X: Any) -> Buffer:
        """Return features as the first layer takes them."""
        features = self._raw_features(X)
        if self.preparation is None:
            return features
        return self.preparation.apply(features, self.dtype)

    def _raw_features(self, X: Any, name: str = "X") -> Buffer:
        """Return features that are checked; in the dtype they will be used in, if unprepared."""
        inputs = self.layers[0].inputs
        if placement.is_on_gpu(X):
            if self.preparation is None:
                return self.executor.adopt(X, name)
            X = self.executor.fetch(X, name)
        if self.layout.columns and columns.is_frame(X):
            X = tabular.frame_features(X, self.layout, inputs, name)
        if self.preparation is None:
            return arrays.features(X, self.dtype, inputs=inputs, name=name)
        return arrays.matrix(X, inputs=inputs, name=name)

    def _prepared(self, rows: Rows, preparations: Preparations, names: tuple[str, str]) -> Rows:
        of_features, of_targets = preparations
        if of_features is not None:
            rows = replace(rows, features=of_features.apply(rows.features, self.dtype, names[0]))
        if of_targets is not None:
            prepared = of_targets.apply(rows.targets, self.dtype, names[1])
            rows = replace(rows, targets=prepared, quantities=rows.targets)
        return rows

    def _on_host(self, values: Any, name: str) -> Any:
        """Return targets and weights on the host, where they are checked and encoded."""
        return self.executor.fetch(values, name) if placement.is_on_gpu(values) else values

    def _where_it_was(self, X: Any, result: Buffer) -> Array:
        """Return a result in the memory in which X lies."""
        array: Array = self.executor.export(result) if placement.is_on_gpu(X) else result
        return array

    def _load(self, rows: Rows) -> Data:
        return self.executor.load(rows.features, rows.targets, rows.weights, self.input_scale)


def _learned(
    of_features: Preparation | None, of_targets: Preparation | None, rows: Rows
) -> Preparations:
    """Return preparations that know shift and scale, from these rows if they did not before.

    Rows of the weight 0 teach nothing here either: what stands in them may stand for nothing.
    """
    counts: Any = slice(None)
    if rows.weights is not None and not rows.weights.all():
        counts = rows.weights > 0
    if of_features is not None and not of_features.is_learned:
        of_features = of_features.learn(rows.features[counts])
    if of_targets is not None and not of_targets.is_learned:
        of_targets = of_targets.learn(rows.targets[counts], "y", invertible=True)
    return of_features, of_targets


def _target_preparation(
    spec: str | Preparation | None, outputs: int, loss: Loss, task: str
) -> Preparation | None:
    chosen = preparation.preparation(spec, "target_preparation", outputs)
    if chosen is None:
        return None
    if task == "classification":
        raise ValueError(
            f"target_preparation is {chosen.kind!r} and task is 'classification'; expected None: "
            f"it is for quantities"
        )
    if not loss.elementwise:
        raise ValueError(
            f"target_preparation is {chosen.kind!r} and the loss is {loss.name}, whose targets are "
            f"probabilities; expected the loss mse or mae, or None"
        )
    if chosen.is_learned and not (chosen.numbers[1] > 0).all():
        raise ValueError(
            "target_preparation has a scale of 0, which cannot be undone; expected scales above 0"
        )
    return chosen


def _preparation(
    spec: str | Preparation | None, inputs: int, input_scale: float
) -> Preparation | None:
    chosen = preparation.preparation(spec, "preparation", inputs)
    if chosen is not None and input_scale != 1:
        raise ValueError(
            f"preparation is {chosen.kind!r} and input_scale is {input_scale:g}; expected one of "
            f"them: a preparation scales the features already"
        )
    return chosen


def _float_dtype(dtype: Any) -> np.dtype[Any]:
    for known in (np.dtype("float32"), np.dtype("float64")):
        try:
            if dtype is not None and np.dtype(dtype) == known:
                return known
        except TypeError:
            break
    raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")


def _threads(threads: int | None) -> int | None:
    name, value = "threads", threads
    if threads is None and os.environ.get("FASTNET_NUM_THREADS", "").strip():
        name, text = "FASTNET_NUM_THREADS", os.environ["FASTNET_NUM_THREADS"].strip()
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{name} is {text!r}; expected a whole number, 1 or larger")
        value = int(text)
    if value is None:
        return None
    return min(checks.whole_number(value, name, at_least=1), registry.usable_cores())


def _precision(precision: str | None, backend: str) -> str | None:
    if precision not in (None, "tf32"):
        raise ValueError(f"precision is {precision!r}; expected None or 'tf32'")
    if precision == "tf32" and backend != "cupy":
        raise ValueError(
            f"precision is 'tf32', which is arithmetic of NVIDIA GPUs, and the backend is "
            f"{backend!r}; leave precision out, or use backend='cupy'"
        )
    return precision
