"""Every kernel once and a few steps of training, to be run under compute-sanitizer.

Memory comes from the driver piece by piece, without CuPy's pool, so that a kernel that reads or
writes beside its buffers leaves what was allocated.
"""

from __future__ import annotations

from bench.gpu import kernels, places, training
from bench.gpu.places import Place


def run(place: Place) -> None:
    """Call every op at small shapes; train eager steps, captured ones, and their replays."""
    device = place.new_device(None)
    for case in kernels.cases(kernels.SMALL_SHAPES):
        found = kernels.compare(device, case, "float32")
        if not found.passed:
            raise RuntimeError(f"{case.op} {case.label} is {found.wrong}")
    for small in training.QUICK_CASES:
        net = training.network(small, "cupy")
        training.train(net, small, training.QUICK_STEPS)
        X, y = training.data(small, 11)
        net.forward(X)
        net.evaluate(X, y)


def main() -> None:
    """Run all of it on the GPU."""
    import cupy

    cupy.cuda.set_allocator(None)
    with places.place(places.GPU) as place:
        run(place)
    cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    main()
