"""Whether there is room for a model, in words that help."""

from __future__ import annotations

from rsft.errors import ModelError, UserError

_WAYS_OUT = (
    "End what else needs it (a run at work, another conversation), talk to a smaller model, or let a server answer "
    "(the recipe's engine)."
)
# What torch says where a CPU's memory ends is a plain RuntimeError.
_SAID = ("not enough memory", "can't allocate memory", "out of memory")


def refuse_too_large(needs: int, free: int, where: str) -> None:
    """Raise ModelError where the weights alone need more bytes than are free."""
    if needs > free:
        raise ModelError(
            f"The model's weights need {needs / 1e9:.1f} GB, and {where} has {free / 1e9:.1f} GB free. {_WAYS_OUT}"
        )


def too_little_memory(error: BaseException) -> UserError | None:
    """What an error means to the user, where it says that memory ran out."""
    ran_out = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error).lower() for said in _SAID)
    )
    return ModelError(f"The memory did not do for the model and its conversation. {_WAYS_OUT}") if ran_out else None
