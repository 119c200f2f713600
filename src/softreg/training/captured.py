"""A training step as one CUDA graph: what the host would launch kernel by kernel in every step is launched at once.

A graph does again what was done while it was captured, on the same memory: what the host decided then, it decides for
all steps. A step that asks the device for a number, or draws numbers on the host, is no such step. So before it is
captured it is run with both refused, and afterwards the graph has to do what that run did, to the last bit. Where
anything of this fails, steps go on one kernel at a time, from the state that they began with. So no result depends on
whether a step was captured, but for one kind that this does not find: a step that does something else only later,
because the host counts. Who writes a network or a penalty is told so.
"""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softreg.errors import first_line


class NotCapturable(Exception):
    """A step that a CUDA graph cannot stand for."""


class Captured:
    """``step`` as it is, or from its first call on as a CUDA graph.

    ``step`` reads and writes tensors that stay where they are, and draws random numbers from torch's own generators
    alone. ``state`` gives all tensors that it changes and later steps depend on; those that a first step makes begin as
    zeros. ``say`` is told in a line why there is no graph.
    """

    def __init__(
        self, step: Callable[[], Tensor], state: Callable[[], Iterable[Tensor]], say: Callable[[str], None], eager: bool
    ) -> None:
        self.step, self.state, self.say = step, state, say
        self.untried = not eager
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Tensor | None = None

    def __call__(self, seed: int) -> Tensor:
        """Do a step with torch's generators at ``seed``; what it returns is good until the next."""
        if self.untried:
            self.untried = False
            try:
                return self._capture(seed)
            except Exception as error:
                self.say(f"steps are not captured in a CUDA graph: {first_line(error)}")
        torch.manual_seed(seed)
        if self.graph is None or self.result is None:
            return self.step()
        self.graph.replay()
        return self.result

    def _capture(self, seed: int) -> Tensor:
        """Make the graph and do a step with it, or leave the state as it is and raise."""
        before = self._copies()
        try:
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            try:
                with torch.cuda.stream(stream):
                    wanted = self._rehearse(seed, before)
            finally:
                # Also where it is broken off: what runs there still must not change the state once that is restored.
                torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                result = self.step()
            torch.manual_seed(seed)
            graph.replay()
            if not all(torch.equal(tensor, wanted[tensor]) for tensor in self.state()):
                raise NotCapturable("a captured step does something else than one that is not")
        except Exception:
            self._restore(before)
            raise
        self.graph, self.result = graph, result
        return result

    def _rehearse(self, seed: int, before: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """What a step makes of the state ``before``, which is restored afterwards."""
        # The first step sets up libraries, and what the optimiser remembers.
        torch.manual_seed(seed)
        self.step()
        self._restore(before)
        torch.manual_seed(seed)
        with _host_left_out():
            self.step()
        wanted = self._copies()
        self._restore(before)
        return wanted

    def _copies(self) -> dict[Tensor, Tensor]:
        return {tensor: tensor.detach().clone() for tensor in self.state()}

    @torch.no_grad()
    def _restore(self, before: dict[Tensor, Tensor]) -> None:
        for tensor in self.state():
            if tensor in before:
                tensor.copy_(before[tensor])
            else:
                tensor.zero_()


@contextmanager
def _host_left_out() -> Iterator[None]:
    """Raise where the work within it waits for the GPU, or draws random numbers on the host."""
    drawn = _host_generators()
    try:
        _refuse_waiting(True)
        yield
    finally:
        _refuse_waiting(False)
    if _host_generators() != drawn:
        raise NotCapturable("it draws random numbers on the host, which a graph would draw once and for all")


def _refuse_waiting(refuse: bool) -> None:
    if not torch.cuda.is_available():
        return
    with warnings.catch_warnings():
        # That this finds not all waiting; what it does not find fails to be captured.
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error" if refuse else "default")


def _host_generators() -> tuple[Any, ...]:
    """The states of the generators that a user's code may draw from on the host."""
    return torch.get_rng_state().tolist(), random.getstate(), pickle.dumps(np.random.get_state())
