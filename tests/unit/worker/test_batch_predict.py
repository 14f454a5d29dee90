"""Which scans share a forward pass, and which one fails."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch

from worker.inference.oom import PassSizes
from worker.inference.progress import OnProgress
from worker.models.loader import Predictor
from worker.pipeline.batch_predict import predict_each


class Doubling:
    """Returns each word doubled; words of one length are of one kind."""

    def __init__(self, fault: Callable[[Sequence[str]], object] = lambda _: None) -> None:
        self.pass_sizes = PassSizes()
        self.passes: list[list[str]] = []
        self._fault = fault

    def pass_kind(self, prepared: str) -> int:
        """Return the word's length."""
        return len(prepared)

    def predict(self, batch: Sequence[str], on_shares: Sequence[OnProgress]) -> list[str]:
        """Fail, or double each word; its progress is its number of letters, of ten."""
        self.passes.append(list(batch))
        self._fault(batch)
        for word, on_share in zip(batch, on_shares, strict=True):
            on_share(len(word) / 10)
        return [word * 2 for word in batch]


def predicted(model: Doubling, *words: str) -> list[Any]:
    """Return the outputs or errors of a batch of words."""
    return predict_each(cast("Predictor", model), words)


def run_out(_: object) -> None:
    """Raise an error of memory."""
    torch.empty(1 << 60)


def test_scans_of_one_kind_share_a_pass() -> None:
    """Kinds run in the order of their first scan, and outputs are in the batch's order."""
    model = Doubling()
    assert predicted(model, "a", "bb", "c", "dd", "eee") == ["aa", "bbbb", "cc", "dddd", "eeeeee"]
    assert model.passes == [["a", "c"], ["bb", "dd"], ["eee"]]


def test_a_fault_in_one_kind_is_that_kind_s() -> None:
    """The failing scan is found in its kind by halving, and the other kinds run once."""

    def fault(batch: Sequence[str]) -> None:
        if "xx" in batch:
            raise RuntimeError("a layer's shapes do not agree")

    model = Doubling(fault)
    outputs = predicted(model, "a", "bb", "xx", "b", "cc", "dd")
    assert [type(one) for one in outputs] == [str, str, RuntimeError, str, str, str]
    assert model.passes[0] == ["a", "b"]
    assert all(len(word) == 2 for one in model.passes[1:] for word in one)
    assert model.pass_sizes.take_splits() == 0
    assert model.pass_sizes.most(2, 4) == 4


def test_a_size_that_fits_in_memory_is_remembered_for_its_kind() -> None:
    """No scan fails, the next batch begins with the size that worked; no other kind is halved."""
    model = Doubling(lambda batch: run_out(batch) if len(batch) > 2 and len(batch[0]) > 1 else None)
    words = ["aa", "bb", "cc", "dd", "ee"]
    assert predicted(model, *words, *"uvwxyz") == [word * 2 for word in [*words, *"uvwxyz"]]
    assert [len(one) for one in model.passes] == [5, 3, 2, 1, 2, 6]
    assert model.pass_sizes.take_splits() == 2
    model.passes.clear()
    predicted(model, *words)
    assert max(len(one) for one in model.passes) <= 2


def test_only_a_scan_that_runs_out_of_memory_alone_fails() -> None:
    """The scan that is too large fails, and the others have their outputs."""
    model = Doubling(lambda batch: run_out(batch) if "X" in batch else None)
    outputs = predicted(model, *"abXd")
    assert isinstance(outputs[2], RuntimeError)
    assert [outputs[index] for index in (0, 1, 3)] == ["aa", "bb", "dd"]


def test_the_memory_of_a_failed_pass_is_free_for_its_halves() -> None:
    """No error keeps its frames, neither while the halves run nor as a scan's output."""
    held: list[int] = []

    class Holder:
        alive = 0

        def __init__(self) -> None:
            Holder.alive += 1

        def __del__(self) -> None:
            Holder.alive -= 1

    def fault(batch: Sequence[str]) -> None:
        held.append(Holder.alive)
        activations = Holder()
        if len(batch) > 1 or batch[0] == "a":
            run_out(activations)

    assert predicted(Doubling(fault), *"abcd")[1:] == ["bb", "cc", "dd"]
    assert held == [0] * 7


def test_each_scan_gets_its_own_shares() -> None:
    """For any grouping and halving, each scan's callback gets its own shares."""
    words = ["a", "bbb", "cc", "d"]
    reported: list[list[float]] = [[] for _ in words]

    def fault(batch: Sequence[str]) -> None:
        if len(batch) > 1:
            raise RuntimeError("too many")

    on_shares = [shares.append for shares in reported]
    predict_each(cast("Predictor", Doubling(fault)), words, on_shares)
    assert reported == [[0.1], [0.3], [0.2], [0.1]]
