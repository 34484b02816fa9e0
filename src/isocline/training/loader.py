"""Batches in an order that depends on seed and epoch alone, and that can be taken up again in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset, default_collate

from isocline._core.checks import check_number, wrong
from isocline._core.seeds import derive_seed, torch_generator

Data = Dataset[Any] | tuple[Tensor, Tensor]


class Share(NamedTuple):
    """Which part of a global batch this is: a step of the optimiser has ``ranks * rounds`` parts."""

    own: int  # examples of this part; 0 where it had none and an example of the batch is lent to it
    whole: int  # examples of the global batch
    ranks: int  # processes that train together
    rounds: int  # parts that each of them works through before a step
    last: bool  # whether the step comes behind this part

    @property
    def weight(self) -> float:
        """What this part's mean loss counts, so that the mean over parts is the mean over the global batch's examples."""
        return self.own * self.ranks * self.rounds / self.whole


class Batches(Sampler[list[Any]]):
    """The indices of each batch of one epoch; `epoch` and `start` say which epoch, and how many batches to leave out.

    With `ranks` processes, or `rounds` of accumulation, each global batch is cut into ``ranks * rounds`` parts whose sizes
    differ by one at most, and what comes are the parts of `rank`: all processes together see the same global batches as one.

    With `repeats` an epoch has as many places as ever, filled by one out of so many examples, its copies side by side, in pairs
    ``(example, copy)`` where `numbered`. Source: Hoffer et al. 2020, *Augment your batch*, and MultiGrain, section 3.2.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        rounds: int = 1,
        repeats: int = 1,
        numbered: bool = False,
    ) -> None:
        self.repeats, self.numbered = repeats, numbered
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, seed
        self.epoch, self.start = 0, 0
        self.rank, self.ranks, self.rounds = 0, 1, rounds

    def __len__(self) -> int:
        return -(-self.count // self.batch_size) * self.rounds

    def __iter__(self) -> Iterator[list[Any]]:
        order = torch.arange(self.count)
        if self.shuffle:
            generator = torch_generator(derive_seed("order of examples", self.seed, self.epoch))
            order = torch.randperm(self.count, generator=generator)
        copies = torch.arange(self.count) % self.repeats
        order = order[: -(-self.count // self.repeats)].repeat_interleave(self.repeats)[: self.count]
        order = torch.stack([order, copies], 1) if self.numbered else order
        batches = order.split(self.batch_size)
        for i in range(self.start, len(self)):
            batch, part = batches[i // self.rounds], i % self.rounds * self.ranks + self.rank
            own = batch.tensor_split(self.ranks * self.rounds)[part]
            rows = (own if len(own) else batch[:1]).tolist()  # everybody takes part in every step
            yield [tuple(row) for row in rows] if self.numbered else rows

    def share(self, i: int) -> Share:
        """The place of the epoch's part `i` in its global batch."""
        step, turn = divmod(i, self.rounds)
        whole = min(self.batch_size, self.count - step * self.batch_size)
        parts, part = self.ranks * self.rounds, turn * self.ranks + self.rank
        own = whole // parts + (part < whole % parts)
        return Share(own, whole, self.ranks, self.rounds, turn == self.rounds - 1)


class Loader(DataLoader[Any]):
    """A torch loader that knows how far it has come: ``state_dict`` and ``load_state_dict``, as Lightning asks for.

    Every ``iter`` begins the next epoch, or the rest of the one that was loaded; one of which nothing was taken begins again
    (Lightning asks twice when it resumes). Torch's global generator is not touched.
    data: a torch data set of ``(image, label)``, or the two as tensors, which are cut without a copy per image.
    workers: processes that read; random numbers drawn inside them are not taken up again in the middle of an epoch, but a
    data set with ``set_epoch`` is told the epoch, so that its numbers can depend on epoch and example alone.
    batch_size is that of a step of the optimiser, however it is cut: by `share` between processes, and by `rounds`, the parts
    that each of them adds up before a step. Cut batches are ``(images, labels, Share)``. repeats: every image of an epoch comes
    so many times, and an epoch has one out of so many images (repeated augmentation). A data set with ``set_epoch`` is then
    asked for ``(example, copy)``, since it draws for each of them.
    Raises ValueError for data that has no length, or nothing in it.
    """

    def __init__(
        self,
        data: Data,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        rounds: int = 1,
        repeats: int = 1,
    ) -> None:
        dataset = data if isinstance(data, Dataset) else TensorDataset(*_checked(data))
        count = len(dataset) if hasattr(dataset, "__len__") else 0  # type: ignore[arg-type]
        if not count:
            raise wrong("data", "a data set with a length >= 1", type(dataset).__name__)
        check_number("batch_size", batch_size, least=1, integer=True)
        check_number("rounds", rounds, least=1, integer=True)
        check_number("repeats", repeats, least=1, integer=True)
        numbered = repeats > 1 and hasattr(dataset, "set_epoch")
        how: dict[str, Any] = {"rounds": rounds, "repeats": repeats, "numbered": numbered}
        self._batches = Batches(count, batch_size, shuffle=shuffle, seed=seed, **how)
        self._given, self._untouched, self._generator = 0, True, torch.Generator()
        whole = isinstance(dataset, TensorDataset)
        super().__init__(
            _Slices(dataset) if whole else dataset,
            batch_sampler=self._batches,
            num_workers=workers,
            collate_fn=_as_it_is if whole else default_collate,
            generator=self._generator,  # of the seeds of workers
        )

    def share(self, rank: int, ranks: int) -> None:
        """Give out only what process `rank` of `ranks` has of each batch: between 0 and ``ranks - 1``."""
        check_number("ranks", ranks, least=1, integer=True)
        self._batches.rank = check_number("rank", rank, least=0, below=ranks, integer=True)
        self._batches.ranks = ranks

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if not self._untouched:
            self.load_state_dict({"epoch": self._batches.epoch + 1, "batches": 0})
        place = (self._batches.seed, self._batches.epoch, self._batches.start)
        rank = (self._batches.rank,) if self._batches.rank else ()
        self._generator.manual_seed(derive_seed("workers", *place, *rank))
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self._batches.epoch)  # type: ignore[attr-defined]
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        cut = self._batches.ranks * self._batches.rounds > 1
        for batch in batches:
            share = self._batches.share(self._given)
            self._given, self._untouched = self._given + 1, False
            yield (*batch, share) if cut else batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were given out."""
        return {"epoch": self._batches.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batch that was given last."""
        ended = state["batches"] >= len(self._batches)
        epoch, start = (state["epoch"] + 1, 0) if ended else (state["epoch"], state["batches"])
        self._batches.epoch, self._batches.start = epoch, start
        self._given, self._untouched = start, True


class _Slices(Dataset[Any]):
    """A batch of a tensor data set in one cut."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.tensors = dataset.tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, ...]:
        return tuple(tensor[indices] for tensor in self.tensors)


def _as_it_is(batch: Any) -> Any:
    return batch


def _checked(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    if not (isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)):
        raise wrong(
            "data",
            "a torch Dataset, or a pair of tensors (images, labels)",
            type(data).__name__,
            error=TypeError,
        )
    images, labels = data
    if images.ndim != 4 or labels.shape != images.shape[:1] or labels.is_floating_point():
        got = f"{tuple(images.shape)} and {tuple(labels.shape)}, {labels.dtype}"
        raise wrong("data", "images (n, C, H, W) and whole-number labels (n,)", got)
    return images, labels.long()


def as_images(batch: Tensor) -> Tensor:
    """Bytes as numbers in [0, 1], in torch's default dtype; anything else as it is."""
    return batch.to(torch.get_default_dtype()) / 255 if batch.dtype == torch.uint8 else batch
