"""What stops a training in the middle, in words: losses that are not finite, memory used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from multibodies.errors import UserError

MEMORY_WORDS = ("not enough memory", "can't allocate memory", "out of memory")  # PyTorch's, by case


class Counting(Protocol):
    """What knows how many steps it has done."""

    step: int


@contextmanager
def explained(stage: str, batch_size: int, state: Counting) -> Iterator[None]:
    """Raise UserError, naming the step, for what the block raises and a user can mend."""
    try:
        yield
    except FloatingPointError as error:
        raise UserError(
            f"{stage}: step {state.step + 1}: {error}; lower {stage}.learning_rate or the weight "
            f"of that term, or mend the labels; step {state.step} is the last that counts"
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{stage}: step {state.step + 1}: out of memory ({reason}); lower {stage}.batch_size, "
            f"now {batch_size}, or share it among more workers"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out: Python's, PyTorch's on a device, or its allocator's on a CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error) for w in MEMORY_WORDS)
