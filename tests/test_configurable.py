"""gpunet.configurable: recorded arguments, configs, clear errors, names."""

from __future__ import annotations

import abc
import copy
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet.configurable import Configurable, Registry


class Base(Configurable):
    _set_by_init = "ready"

    def __init__(self, name: str | None = None, **unknown: Any) -> None:
        super().__init__(**unknown)
        self.ready, self.name = True, name or "base"


class Scale(Base):
    def __init__(self, factor: float, power: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.scaled = factor * power


class Fixed(Base):
    """With no name to pass on."""

    def __init__(self, size: int = 3) -> None:
        super().__init__(name=f"fixed_{size}")


class KeepsWords(Base):
    """Takes any keyword for itself."""

    def __init__(self, *items: int, last: int = 0, **words: str) -> None:
        super().__init__()
        self.items, self.last, self.words = items, last, words


class Only(Base):
    def __init__(self, first: int, /, second: int) -> None:
        super().__init__()
        self.both = first, second


@pytest.mark.parametrize(
    ("made", "config"),
    [
        (lambda: Scale(3.0), {"factor": 3.0, "power": 2}),
        (lambda: Scale(3.0, 4, name="x"), {"factor": 3.0, "power": 4, "name": "x"}),
        (lambda: Fixed(), {"size": 3}),
        (lambda: Base("y"), {"name": "y"}),
        (lambda: KeepsWords(1, 2, a="b"), {"items": (1, 2), "last": 0, "a": "b"}),
        (lambda: KeepsWords(last=1), {"last": 1}),
        (lambda: Only(1, second=2), {"first": 1, "second": 2}),
        (lambda: Scale(np.float32(0.5), np.array(3)), {"factor": 0.5, "power": 3}),
    ],
)
def test_arguments_are_recorded_as_they_are_bound(made: Any, config: Any) -> None:
    item = made()
    assert item.get_config() == config
    assert all(type(value) is type(config[key]) for key, value in item.get_config().items())
    attributes = {k: v for k, v in vars(item).items() if k != "_arguments"}
    for again in (
        type(item).from_config(item.get_config()),
        copy.copy(item),
        copy.deepcopy(item),
        pickle.loads(pickle.dumps(item)),
    ):
        assert type(again) is type(item)
        assert again.get_config() == config
        assert {k: v for k, v in vars(again).items() if k != "_arguments"} == attributes


def test_a_config_is_a_copy() -> None:
    item = Scale(3.0)
    item.get_config()["factor"] = 5
    assert item.get_config()["factor"] == 3.0
    config = {"factor": 1.0}
    Scale.from_config(config)
    assert config == {"factor": 1.0}


def test_get_config_can_be_extended_as_in_keras() -> None:
    class Extended(Scale):
        def __init__(self, extra: int = 1, **options: Any) -> None:
            super().__init__(2.0, **options)
            self.extra = extra

        def get_config(self) -> dict[str, Any]:
            config = super().get_config()
            config.update({"extra": self.extra})
            return config

    item = Extended(extra=5, name="x")
    assert item.get_config() == {"extra": 5, "name": "x"}
    assert Extended.from_config(item.get_config()).extra == 5
    assert repr(item) == "Extended(extra=5, name='x')"


def test_other_metaclasses_are_possible() -> None:
    class Abstract(Base, abc.ABC):
        @abc.abstractmethod
        def call(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(sise=3), "Fixed takes no argument 'sise': did you mean 'size'"),
        (lambda: Scale(1.0, nmae="x"), "Scale takes no argument 'nmae': did you mean 'name'"),
        (lambda: Scale(1.0, pwer=1), "did you mean 'power'.*are: factor, power, name"),
        (lambda: Scale(), "missing 1 required positional argument: 'factor'"),
        (lambda: Fixed(1, 2), "positional argument"),
        (lambda: Fixed.from_config({"sizes": 3}), "Fixed takes no argument 'sizes'"),
    ],
)
def test_arguments_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_a_missing_super_is_told() -> None:
    class Forgets(Base):
        def __init__(self, n: int) -> None:
            self.n = n

    item = Forgets(3)
    assert item.n == 3
    assert not hasattr(item, "name")
    with pytest.raises(RuntimeError, match=r"Forgets.__init__ did not call super\(\).__init__"):
        item.name  # noqa: B018
    with pytest.raises(AttributeError, match=r"^'Scale' object has no attribute 'nmae'$"):
        Scale(1.0).nmae  # type: ignore[attr-defined]  # noqa: B018


def test_the_record_hides_nothing_in_containers() -> None:
    """A layer finds its parts in lists, tuples and dictionaries; those given are not its own."""
    assert not isinstance(vars(Scale(1.0))["_arguments"], dict | list | tuple)


REGISTRY: Registry[Base] = Registry("base", Base, [Fixed, Scale], {"s": Fixed}, function="(x) -> y")


def test_a_registry_gets_what_is_meant() -> None:
    for identifier in ("Fixed", "fixed", "FIXED", "S", "s", Fixed, {"class_name": "Fixed"}):
        assert type(REGISTRY.get(identifier)) is Fixed
    item = Fixed()
    assert REGISTRY.get(item) is item
    assert REGISTRY.get(len) is len
    with pytest.raises(ValueError, match=r"Unknown base 'fixd': did you mean 'fixed'.*are: fixed"):
        REGISTRY.get("fixd")
    for wrong in (3, None, int):
        with pytest.raises(TypeError, match=r"Expected a base: a name.*a function \(x\) -> y"):
            REGISTRY.get(wrong)
    with pytest.raises(ValueError, match="'class_name' and 'config', received"):
        REGISTRY.deserialize({"config": {}})


def test_objects_within_objects_are_written_down() -> None:
    class Outer(Base):
        def __init__(self, inner: Any, function: Any = None) -> None:
            super().__init__()
            self.inner = REGISTRY.get(inner)

    written = REGISTRY.serialize(Outer(Scale(2.0), len))
    scale = {"class_name": "Scale", "config": {"factor": 2.0, "power": 2}}
    assert written == {"class_name": "Outer", "config": {"inner": scale, "function": "len"}}
    again = REGISTRY.deserialize(written, {"Outer": Outer})
    assert again.inner.get_config() == scale["config"]


def test_a_registry_takes_the_public_classes_of_a_module() -> None:
    class _Hidden(Base):
        pass

    namespace = {"Base": Base, "Shared": Fixed, "_Hidden": _Hidden, "np": np, "number": 3}
    registry = Registry("rule", Base, namespace.values())
    assert registry.names == ["fixed"]
    assert isinstance(registry.get("Fixed"), Fixed)
