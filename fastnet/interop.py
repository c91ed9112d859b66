"""Networks of other libraries, both ways: scikit-learn's perceptrons, and PyTorch's arrays.

Their networks take features as they are. What ours does to features before the first layer, the
preparation and the input scale, is therefore worked into that layer on the way out:
x' = (x - shift) scale gives W' = diag(scale) W and b' = b - (shift scale) W. On the way in it is
taken out again: W = diag(1 / scale) W' and b = b' + shift W'. A preparation of targets, whose
prediction is y = y' / scale + shift, is worked into the last layer, which must be linear:
W' = W diag(1 / scale) and b' = b / scale + shift; W = W' diag(scale) and b = (b' - shift) scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.activations import Activation, Linear, ReLU, Sigmoid, Softmax, Tanh
from fastnet.data.targets import Codec
from fastnet.layers import Dense
from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]
Layers = list[tuple[Array, Array]]

# Activations by scikit-learn's names.
OF_SKLEARN: dict[str, type[Activation]] = {
    "identity": Linear,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
}


def raw_layers(network: Network, dtype: Any = None) -> Layers:
    """Return W (inputs, outputs) and b (outputs,) of every layer, for features as they came.

    What is done to features and targets is worked in in float64, and rounded to ``dtype`` then, by
    default the network's: a large shift takes digits from what varies.

    Raises
    ------
    ValueError
        If a preparation of the network has learned nothing yet, or if it has one of targets and the
        last layer is not linear.
    """
    layers = _own_layers(network)
    if not (_changes_features(network) or network.target_preparation is not None):
        return layers
    layers = [(W.astype(np.float64), b.astype(np.float64)) for W, b in layers]
    if _changes_features(network):
        shift, scale = _shift_and_scale(network)
        W, b = layers[0]
        layers[0] = scale[:, None] * W, b - (shift * scale) @ W
    if network.target_preparation is not None:
        shift, scale = _of_targets(network)
        W, b = layers[-1]
        layers[-1] = W / scale, b / scale + shift
    wanted = network.dtype if dtype is None else dtype
    return [(W.astype(wanted), b.astype(wanted)) for W, b in layers]


def _own_layers(network: Network) -> Layers:
    """Return the parameters as they are, for features that are prepared."""
    state = network.state_dict()
    numbers = range(1, len(network.layers) + 1)
    return [(state[f"layer_{n}.weights"], state[f"layer_{n}.biases"]) for n in numbers]


def _changes_features(network: Network) -> bool:
    return network.preparation is not None or network.input_scale != 1


def _shift_and_scale(network: Network) -> tuple[Array, Array]:
    """Return what is done to each feature, x' = (x - shift) scale, in float64."""
    if network.preparation is not None:
        return network.preparation.numbers
    inputs = network.layers[0].inputs
    return np.zeros(inputs), np.full(inputs, network.input_scale, np.float64)


def _of_targets(network: Network) -> tuple[Array, Array]:
    """Return what is done to each target, y' = (y - shift) scale, in float64."""
    assert network.target_preparation is not None
    last = network.layers[-1].activation
    if not isinstance(last, Linear):
        raise ValueError(
            f"the last layer is {last} and the targets were prepared by "
            f"{network.target_preparation.kind!r}, which only a linear last layer can take up; "
            f"expected a linear one, or prepared=True with PyTorch"
        )
    return network.target_preparation.numbers


# -- scikit-learn ---------------------------------------------------------------------------------


def from_sklearn(model: Any, *, backend: str = "auto", dtype: Any = None) -> Network:
    """Return the network of a trained ``MLPClassifier`` or ``MLPRegressor``.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Trained.
    backend : str, default "auto"
        As in `Network`.
    dtype : str or dtype, optional
        By default that of the model's weights.

    Returns
    -------
    Network
        It predicts what the model does; trained further, it begins with a new optimizer.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    TypeError, ValueError
        If it is another model, or not trained.
    """
    classifier, regressor = _sklearn()
    if not isinstance(model, classifier | regressor):
        raise TypeError(
            f"model is of type {type(model).__name__}; expected an MLPClassifier or MLPRegressor"
        )
    if not hasattr(model, "coefs_"):
        raise ValueError("model is not trained; fit it first")
    is_classifier = isinstance(model, classifier)
    last = OF_SKLEARN[model.out_activation_]
    hidden = OF_SKLEARN[model.activation]
    count = len(model.coefs_)
    layers = [
        Dense(W.shape[0], W.shape[1], (last if n == count else hidden)())
        for n, W in enumerate(model.coefs_, 1)
    ]
    losses = {Softmax: "categorical_crossentropy", Sigmoid: "log_loss"}
    network = Network(
        layers,
        loss=losses[last] if is_classifier else "mse",
        backend=backend,
        dtype=model.coefs_[0].dtype if dtype is None else dtype,
        task="classification" if is_classifier else "regression",
    )
    network.parameters = np.concatenate(
        [
            part.ravel()
            for pair in zip(model.coefs_, model.intercepts_, strict=True)
            for part in pair
        ]
    )
    if not is_classifier:
        network.know(Codec("regression", None, vector=model.n_outputs_ == 1))
    elif model._label_binarizer.y_type_.startswith("multilabel"):
        network.know(Codec("classification", None, multilabel=True))
    else:
        network.know(Codec("classification", np.asarray(model.classes_)))
    return network


def to_sklearn(network: Network) -> Any:
    """Return a scikit-learn model with the network's weights, which takes features as they came.

    Parameters
    ----------
    network : Network
        With relu, tanh, sigmoid or linear in all hidden layers alike; softmax or sigmoid outputs
        for classes, linear ones for quantities.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Ready to predict, always (rows,) for a single output: scikit-learn has no other shape
        there, also where the targets were (rows, 1) and ours predicts that.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    ValueError
        If scikit-learn has no such network.
    """
    classifier, regressor = _sklearn()
    names = {cls: name for name, cls in OF_SKLEARN.items()}
    hidden = {str(layer.activation) for layer in network.layers[:-1]} or {"relu"}
    name = names.get(type(network.layers[0].activation)) if len(network.layers) > 1 else "relu"
    if len(hidden) > 1 or name in (None, "softmax"):
        raise ValueError(
            f"the hidden layers have {', '.join(sorted(hidden))}; scikit-learn has one of relu, "
            f"tanh, sigmoid and linear in all of them alike"
        )
    last, codec = network.layers[-1], network.codec
    is_classifier = codec.task == "classification"
    output = names.get(type(last.activation))
    has_sigmoid = codec.multilabel or last.outputs == 1
    expected = ("logistic" if has_sigmoid else "softmax") if is_classifier else "identity"
    if output != expected:
        raise ValueError(
            f"the outputs are {last.outputs} of {last.activation} for {codec.task}; scikit-learn "
            f"has {OF_SKLEARN[expected].name} there"
        )
    model = (classifier if is_classifier else regressor)(
        hidden_layer_sizes=tuple(layer.outputs for layer in network.layers[:-1]), activation=name
    )
    layers = raw_layers(network, np.float64)
    if output == "softmax" and last.outputs == 2:  # there, two classes are one sigmoid
        W, b = layers[-1]
        layers[-1], output = (W[:, 1:] - W[:, :1], b[1:] - b[:1]), "logistic"
    model.coefs_, model.intercepts_ = [W for W, _ in layers], [b for _, b in layers]
    model.n_layers_, model.n_outputs_ = len(layers) + 1, len(layers[-1][1])
    model.out_activation_, model.n_features_in_ = output, network.layers[0].inputs
    model.n_iter_ = network.epoch
    if is_classifier:
        from sklearn.preprocessing import LabelBinarizer

        classes = np.arange(last.outputs) if codec.classes is None else codec.classes
        seen = np.eye(last.outputs, dtype=int) if codec.multilabel else classes
        if codec.multilabel:
            seen = np.vstack([seen, np.ones_like(seen[:1])])  # more than one at once
        model._label_binarizer = LabelBinarizer().fit(seen)
        model.classes_ = model._label_binarizer.classes_
    return model


def _sklearn() -> tuple[Any, Any]:
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError:
        raise ImportError(
            "scikit-learn is not installed: python -m pip install 'fastnet-nn[sklearn]'"
        ) from None
    return MLPClassifier, MLPRegressor


# -- PyTorch --------------------------------------------------------------------------------------


def to_torch(network: Network, *, prepared: bool = False) -> dict[str, Array]:
    """Return the arrays of ``torch.nn.Sequential(Linear, activation, Linear, ...)``.

    Parameters
    ----------
    network : Network
    prepared : bool, default False
        Whether the module's features are prepared, or multiplied by the input scale, already, and
        its outputs are those of `Network.forward`. By default features are as they came, outputs
        those of `Network.predict` for quantities, and what the network does to them is worked into
        the first and the last layer; with True the arrays are the network's parameters to the bit.

    Returns
    -------
    dict of str to array
        ``0.weight`` (outputs, inputs), ``0.bias`` (outputs,), ``2.weight``, and so on, in the
        network's dtype. Where a shift is large beside what varies, as seconds since 1970 are,
        float32 has not the digits for it: export ``network.to(dtype="float64")``.
        ``module.load_state_dict({k: torch.from_numpy(v) for k, v in ...})`` takes them; the last
        activation is not part of them. `from_torch` goes back.

    Raises
    ------
    ValueError
        Unless ``prepared``, if a preparation has learned nothing yet, or if targets were prepared
        and the last layer is not linear.
    """
    checks.truth(prepared, "prepared")
    found = {}
    layers = _own_layers(network) if prepared else raw_layers(network)
    for number, (W, b) in enumerate(layers):
        found[f"{2 * number}.weight"] = np.ascontiguousarray(W.T)
        found[f"{2 * number}.bias"] = b
    return found


def from_torch(network: Network, state_dict: Mapping[str, Any], *, prepared: bool = False) -> None:
    """Give a network the arrays of a PyTorch module of linear layers.

    Afterwards it computes what the module does, as far as their activations are the same. Its
    input scale and its preparation stay what they are.

    Parameters
    ----------
    network : Network
        Its layers have the module's sizes.
    state_dict : mapping of str to array
        What ``module.state_dict()`` returns: tensors on the CPU, or arrays. Names are not looked
        at but for their ends, ``weight`` (outputs, inputs) and ``bias`` (outputs,), in the order of
        the layers.
    prepared : bool, default False
        Whether the module's features are prepared, or multiplied by the input scale, already, and
        its targets, too. By default they are as they came, as in `to_torch`: what the network does
        to them is taken out of the first and the last layer, up to rounding. With True the arrays
        become the parameters as they are.

    Raises
    ------
    ValueError
        If there are other arrays, or of other shapes; and unless ``prepared``, if a preparation has
        learned nothing yet, or makes 0 of a feature that the module uses, or if targets were
        prepared and the last layer is not linear. Nothing is changed then.

    Examples
    --------
    >>> module.load_state_dict({k: torch.from_numpy(v) for k, v in fastnet.to_torch(net).items()})
    >>> fastnet.from_torch(net, module.state_dict())
    """
    checks.truth(prepared, "prepared")
    names = list(state_dict)
    expected = [part for _ in network.layers for part in ("weight", "bias")]
    if [name.rpartition(".")[2] for name in names] != expected:
        raise ValueError(
            f"state_dict has {', '.join(names) or 'nothing'}; expected weight and bias of "
            f"{len(network.layers)} layer(s), in order"
        )
    arrays = [np.asarray(state_dict[name]) for name in names]
    layers: Layers = []
    pairs = zip(arrays[::2], arrays[1::2], names[::2], strict=True)
    for layer, (W, b, name) in zip(network.layers, pairs, strict=True):
        wanted = (layer.outputs, layer.inputs), (layer.outputs,)
        if (W.shape, b.shape) != wanted:
            raise ValueError(
                f"state_dict has {name!r} of shape {W.shape} and a bias of shape {b.shape}; "
                f"expected {wanted[0]} and {wanted[1]}"
            )
        layers.append((W.T, b))
    if not prepared and _changes_features(network):
        layers[0] = _for_prepared(network, *layers[0])
    if not prepared and network.target_preparation is not None:
        shift, scale = _of_targets(network)
        W, b = layers[-1]
        with np.errstate(all="ignore"):
            layers[-1] = W.astype(np.float64) * scale, (b.astype(np.float64) - shift) * scale
    network.parameters = np.concatenate([part.ravel() for pair in layers for part in pair])


def _for_prepared(network: Network, W: Array, b: Array) -> tuple[Array, Array]:
    """Return a first layer for prepared features, from one for features as they came."""
    shift, scale = _shift_and_scale(network)
    constant = scale == 0
    if (W[constant] != 0).any():
        position = int(np.flatnonzero(constant & (W != 0).any(axis=1))[0])
        raise ValueError(
            f"state_dict has weights for feature {position} (counted from 0), of which the "
            f"network's preparation makes 0, since it did not vary; expected zeros there, or "
            f"prepared=True for a module of prepared features"
        )
    with np.errstate(all="ignore"):  # what is not finite is refused with the parameters
        b = b + shift @ W.astype(np.float64)
        W = W / np.where(constant, 1, scale)[:, None]
    # Weights that have no effect stay what they are.
    return np.where(constant[:, None], _own_layers(network)[0][0], W), b
