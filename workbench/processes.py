"""Several processes that train one model together, as ``accelerate launch`` starts them.

The first process alone writes: the record, the metrics, the tables. The others do the same work on
their part of each batch and know the same record. What ends one of them ends all, with one line
from the first. Alone, a process pays nothing for any of this and loads nothing.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from workbench import provenance
from workbench import recipe as recipes
from workbench import run as runs
from workbench.errors import OutOfSpace, Stopped, UserError

T = TypeVar("T")

FAULTS = (UserError, OutOfSpace, Stopped)
TOLD = "told_by_another_process"


def count() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number, from 0."""
    return provenance.rank()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def begin(
    recipe: recipes.Recipe,
    recipe_file: str = "",
    overrides: Sequence[str] = (),
    fresh: bool = False,
) -> runs.Run:
    """Like :meth:`workbench.run.Run.begin`, for all processes: the first begins, the others follow.

    Raises:
        UserError: as there; or several processes were started for what does not train.
    """
    if count() == 1:
        return runs.Run.begin(recipe, recipe_file, overrides, fresh)
    own: list[runs.Run] = []

    def open_it() -> str:
        if not isinstance(recipe, (recipes.PretrainRecipe, recipes.AdaptRecipe)):
            raise UserError(
                f"{recipe.kind}/{recipe.name}: several processes are for what trains, 'pretrain' "
                "or 'adapt'; start this with 'workbench run' alone"
            )
        recipe.train.share_of_step(count())
        own.append(runs.Run.begin(recipe, recipe_file, overrides, fresh))
        return str(own[0].path)

    path = from_first(open_it)
    return own[0] if own else runs.Follower(Path(path))


def from_first(action: Callable[[], T]) -> T:
    """Return in every process what ``action`` returns in the first, the only one to call it.

    Raises:
        UserError, OutOfSpace, Stopped: in all of them, if the first raised it; of other faults
            the others raise a ``RuntimeError``.
    """
    if count() == 1:
        return action()
    state = _state()
    told: list[Any] = [None]
    fault: BaseException | None = None
    if state.is_main_process:
        try:
            told = [("value", action())]
        except BaseException as raised:
            fault = raised
            told = [(type(raised).__name__, str(raised))]
    _broadcast(told)
    if fault is not None:
        raise fault
    kind, value = told[0]
    if kind == "value":
        result: T = value
        return result
    raise _fault(kind, value)


def agree(action: Callable[[], None]) -> None:
    """Do ``action`` in every process, and go on only if it went well in all.

    Raises:
        UserError, OutOfSpace: in all of them, if any raised it.
    """
    if count() == 1:
        action()
        return
    fault: BaseException | None = None
    try:
        action()
    except (UserError, OutOfSpace) as raised:
        fault = raised
    for other in gathered(None if fault is None else (type(fault).__name__, str(fault))):
        if other is not None:
            raise fault or _fault(*other)


def gathered(value: T) -> list[T]:
    """Return what each process gave, in their order."""
    if count() == 1:
        return [value]
    import torch.distributed

    _state()
    values: list[Any] = [None] * count()
    torch.distributed.all_gather_object(values, value)
    return values


def summed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what the processes gave, added up entry by entry: the same in each of them."""
    if count() == 1:
        return values
    import torch
    import torch.distributed

    sums = torch.from_numpy(values).to(_state().device)
    torch.distributed.all_reduce(sums)
    result: npt.NDArray[np.float64] = sums.cpu().numpy()
    return result


def told(fault: BaseException) -> bool:
    """Whether another process tells of ``fault``; to be stopped, all are told alike."""
    return TOLD in vars(fault) or (isinstance(fault, Stopped) and not is_first())


def leave() -> None:
    """Wait until all processes have come here, then take the connection down."""
    if count() == 1:
        return
    import torch.distributed

    _state().wait_for_everyone()
    torch.distributed.destroy_process_group()


def _state() -> Any:
    """Return Accelerate's state of the processes; the first call connects them."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def _broadcast(told: list[Any]) -> None:
    import torch.distributed

    torch.distributed.broadcast_object_list(told, src=0)


def _fault(kind: str, text: str) -> Exception:
    """Return the fault of another process, which tells of it itself."""
    known = next((one for one in FAULTS if one.__name__ == kind), None)
    fault = known(text) if known else RuntimeError(f"another process ended: {kind}: {text}")
    fault.__dict__[TOLD] = True
    return fault
