"""The time of training steps by the parts of the model, backward pass included."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.autograd.profiler import record_function
from torch.autograd.profiler_util import EventList, FunctionEvent

from elmo.models.language_model import LanguageModel
from elmo.modules.dropout import Dropout

MARK = "part: "
REST = "loop and logging"
BACKWARD = "autograd::engine::evaluate_function"
CUDNN = ("aten::_cudnn_rnn", "aten::_cudnn_rnn_backward")
RECORDED = {"enumerate(DataLoader)": "data", "Optimizer.": "optimizer"}  # names that PyTorch gives


@contextlib.contextmanager
def marked(model: LanguageModel) -> Iterator[None]:
    """Make the profiler record the forward pass of each part of the model under its name."""
    bilm = model.bilm
    parts: dict[str, list[nn.Module]] = {
        "rest of the model": [model],
        "embedding": [bilm.embedding, bilm.projection],
        "LSTMs": [*bilm.forward_lstm.layers, *bilm.backward_lstm.layers],
        "dropout": [module for module in model.modules() if isinstance(module, Dropout)],
        "softmax": [model.softmax],
    }
    modules = [(module, name) for name, part in parts.items() for module in part]
    for module, name in modules:
        module.forward = recorded(name, module.forward)
    try:
        yield
    finally:
        for module, _ in modules:
            del module.forward


def recorded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, recorded by the profiler as part `name`."""

    def call(*args: Any, **keywords: Any) -> Any:
        with record_function(MARK + name):
            return function(*args, **keywords)

    return call


def seconds_on_gpu(event: FunctionEvent) -> float:
    """Return the seconds of the kernels that an operation started itself.

    A named range of operations comes back from the GPU as if it were a kernel of the same name.
    """
    own = (kernel.duration for kernel in event.kernels if kernel.name != event.name)
    return sum(own) / 1e6


def seconds_in_cudnn(events: EventList) -> float:
    """Return the seconds of the kernels that cuDNN's LSTM started, forward and backward."""

    def inside(event: FunctionEvent | None) -> bool:
        return event is not None and (event.name in CUDNN or inside(event.cpu_parent))

    return sum(seconds_on_gpu(event) for event in events if inside(event))


def shares_of_parts(events: EventList, seconds: float, gpu: bool = False) -> dict[str, float]:
    """Return the share of `seconds` that each part took, on the processor or on the GPU.

    An operation belongs to the innermost part around it. An operation of the backward pass carries
    the number of its forward operation, and belongs to the part in which that one ran. On a GPU the
    time in which it computes nothing belongs to `REST`.
    """
    parts: dict[int, str] = {}  # id of an event -> part
    forward: dict[int, str] = {}  # number of an operation -> part

    def part_of(event: FunctionEvent) -> str:
        if id(event) not in parts:
            parts[id(event)] = find(event)
        return parts[id(event)]

    def find(event: FunctionEvent) -> str:
        if event.name.startswith(MARK):
            return event.name.removeprefix(MARK)
        if event.name.startswith(BACKWARD):
            return forward.get(event.sequence_nr, "rest of the model")
        for start, part in RECORDED.items():
            if event.name.startswith(start):
                return part
        return part_of(event.cpu_parent) if event.cpu_parent is not None else REST

    shares: dict[str, float] = defaultdict(float)
    for event in sorted(events, key=lambda event: event.time_range.start):
        part = part_of(event)
        # An operation without gradient carries the number of the next with one: the last counts.
        if event.sequence_nr >= 0 and not event.name.startswith(BACKWARD):
            forward[event.sequence_nr] = part
        own = seconds_on_gpu(event) if gpu else event.self_cpu_time_total / 1e6
        shares[part] += own / seconds
    shares[REST] += 1 - sum(shares.values())  # the time between recorded operations
    return dict(shares)
