"""What of Keras' arguments, defaults and classes gpunet lacks stands in docs/keras.md, no other."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpunet
from gpunet import layers
from gpunet.layers.recurrent.cells import RecurrentCell
from tests.layers.layer_examples import EXAMPLES

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if not keras.__version__.startswith("3.15."):
    pytest.skip("the table is that of Keras 3.15", allow_module_level=True)

TABLE = Path(__file__).parents[2] / "docs" / "keras.md"
FAMILIES = (
    "layers", "losses", "metrics", "optimizers", "callbacks", "initializers", "regularizers",
)  # fmt: skip
REQUIRED: dict[str, dict[str, Any]] = {  # arguments without which a class cannot be made
    "losses.LossFunctionWrapper": {"fn": lambda y_true, y_pred: y_pred},
    "metrics.MeanMetricWrapper": {"fn": lambda y_true, y_pred: y_pred},
}
CELLS = {
    layers.SimpleRNN: layers.SimpleRNNCell, layers.LSTM: layers.LSTMCell,
    layers.GRU: layers.GRUCell,
}  # fmt: skip
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
EMPTY = inspect.Parameter.empty

Parameters = dict[str, inspect.Parameter]


def rows(title: str) -> Iterator[list[str]]:
    """Yield the cells of the table under a title of docs/keras.md."""
    text = TABLE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def listed(title: str) -> set[tuple[str, str]]:
    """Return (class, argument) of each row, which may name several of both."""
    return {
        (kind, argument)
        for kinds, arguments, *_ in rows(title)
        for kind in names_in(kinds)
        for argument in names_in(arguments)
    }


def classes(module: Any) -> dict[str, type]:
    return {name: item for name, item in vars(module).items() if inspect.isclass(item)}


def pairs() -> Iterator[tuple[str, type, type]]:
    """Yield 'family.Class', Keras' class and gpunet's."""
    for family in FAMILIES:
        ours = classes(getattr(gpunet, family))
        for name, theirs in classes(getattr(keras, family)).items():
            if name in ours:
                yield f"{family}.{theirs.__name__}", theirs, ours[name]


PAIRS = {name: (theirs, ours) for name, theirs, ours in pairs()}
every_class = pytest.mark.parametrize("name", PAIRS)


def parameters(function: Any) -> Parameters:
    found = list(inspect.signature(function).parameters.values())[1:]
    return {p.name: p for p in found if p.kind not in VARIADIC}


def own_parameters(kind: type) -> Parameters:
    """Return the arguments of gpunet's class, those that it passes on to its bases included."""
    passed_on = [*kind.__mro__, *((CELLS[kind], RecurrentCell) if kind in CELLS else ())]
    found: Parameters = {}
    for base in reversed(passed_on):
        if "__init__" in vars(base) and base is not object:
            found |= parameters(base.__init__)
    return found


def given(name: str) -> dict[str, Any]:
    """Return arguments with which a class can be made."""
    kind = name.split(".")[1]
    return EXAMPLES[kind].given() if kind in EXAMPLES else REQUIRED.get(name, {})


def is_taken(name: str, argument: str, default: Any) -> bool:
    """Return whether gpunet's class takes an argument, and more for it than the default."""
    kind, others = PAIRS[name][1], given(name)
    default = others.get(argument, default)
    try:
        kind(**others | {argument: None if default is EMPTY else default})
    except TypeError as error:
        if "takes no argument" in str(error) or "unexpected keyword" in str(error):
            return False
    except ValueError:
        pass
    try:
        kind(**others | {argument: object()})
    except NotImplementedError:
        return False
    except Exception:
        return True
    return True


@every_class
def test_every_argument_is_taken_or_stands_in_the_table(name: str) -> None:
    kind = name.split(".")[1]
    table = listed("Arguments that are not taken")
    for argument, parameter in parameters(PAIRS[name][0].__init__).items():
        is_listed = bool({(kind, argument), (name, argument)} & table)
        taken = is_taken(name, argument, parameter.default)
        assert taken != is_listed, f"{name}({argument}=): taken: {taken}, in the table: {is_listed}"


@every_class
def test_the_arguments_of_calls(name: str) -> None:
    """`training` is an argument of every layer's call; each reads it where it needs to."""
    theirs, ours = PAIRS[name]
    if not hasattr(theirs, "call") or not hasattr(ours, "call"):
        return
    kind, table = name.split(".")[1], listed("Arguments of calls that are not taken")
    _, *expected = parameters(theirs.call) or [""]
    taken = {*parameters(ours.call), "training"}  # type: ignore[attr-defined]
    missing = {(kind, argument) for argument in expected if argument not in taken}
    assert missing == {pair for pair in table if pair[0] == kind}


def test_the_arguments_of_input() -> None:
    theirs, ours = (
        [(p.name, p.default) for p in inspect.signature(function).parameters.values()]
        for function in (keras.Input, gpunet.Input)
    )
    assert ours == theirs


@every_class
def test_arguments_are_in_keras_order(name: str) -> None:
    """As far as they may be given without a name."""
    theirs, ours = PAIRS[name]
    by_name = dict(listed("Arguments given by name alone"))
    expected = [p.name for p in parameters(theirs.__init__).values() if p.kind in POSITIONAL]
    received = [p.name for p in parameters(ours.__init__).values() if p.kind in POSITIONAL]
    kind = name.split(".")[1]
    first = by_name.get(name) or by_name.get(kind)
    if first is None:
        assert received[: len(expected)] == expected
    else:  # or else a call of Keras' would give another argument by position
        assert received == expected[: expected.index(first)]


def alike(one: Any, other: Any) -> bool:
    """Return whether two defaults mean the same."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower().replace("_", "") == other.lower().replace("_", "")
    if isinstance(one, tuple) != isinstance(other, tuple):  # one integer stands for all axes
        several, single = (one, other) if isinstance(one, tuple) else (other, one)
        return all(item == single for item in several)
    return bool(one == other)


@every_class
def test_defaults_differ_where_the_table_says_so(name: str) -> None:
    theirs, ours = PAIRS[name]
    kind, own, table = name.split(".")[1], own_parameters(ours), listed("Other defaults")
    for argument, parameter in parameters(theirs.__init__).items():
        if argument not in own:
            continue
        is_listed = bool({(kind, argument), (name, argument)} & table)
        same = alike(parameter.default, own[argument].default)
        if argument == "name" and not same:
            same = made_name(theirs, name) == made_name(ours, name)
        assert same != is_listed, (
            f"{name}({argument}=): Keras {parameter.default!r}, gpunet {own[argument].default!r}, "
            f"in the table: {is_listed}"
        )


def made_name(kind: type, name: str) -> str:
    """Return the name of a new object, without the number that Keras adds from the second on."""
    return re.sub(r"_\d+$", "", kind(**given(name)).name)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_class_is_there_or_in_the_table(family: str) -> None:
    ours, table = getattr(gpunet, family), {}
    for families, kinds, *_ in rows("Classes that are not there"):
        if family in names_in(families):
            table |= dict.fromkeys(names_in(kinds))
    found = classes(getattr(keras, family))
    assert {name for name in found if not hasattr(ours, name)} == table.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_other_names_are_of_the_same_classes(family: str) -> None:
    ours = getattr(gpunet, family)
    for name, theirs in classes(getattr(keras, family)).items():
        if name != theirs.__name__ and hasattr(ours, name) and hasattr(ours, theirs.__name__):
            assert getattr(ours, name) is getattr(ours, theirs.__name__)


def test_every_row_is_of_a_class_and_an_argument_of_keras() -> None:
    kinds = {name.split(".")[1] for name in PAIRS} | PAIRS.keys()
    for title in ("Arguments that are not taken", "Other defaults"):
        for kind, argument in listed(title):
            assert kind in kinds, f"{kind} is no class of both"
            same = [name for name in PAIRS if name == kind or name.split(".")[1] == kind]
            assert any(argument in parameters(PAIRS[n][0].__init__) for n in same), (kind, argument)
    for title in ("Arguments of calls that are not taken", "Arguments given by name alone"):
        assert {kind for kind, _ in listed(title)} <= kinds
    for title in ("Arguments that are not taken", "Other defaults", "Classes that are not there"):
        assert all(row[-1] for row in rows(title)), "each row has a reason"
