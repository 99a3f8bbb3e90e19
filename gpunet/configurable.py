"""The base of layers, losses, metrics, optimizers and initializers: checked, recorded arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from gpunet.arguments import plain
from gpunet.naming import check_arguments, find, snake_case, unknown_argument

__all__ = ["Configurable", "MissingInitError", "Registry"]

T = TypeVar("T", bound="Configurable")


class MissingInitError(RuntimeError, AttributeError):
    """An ``__init__`` did not call ``super().__init__()``; `hasattr` returns False."""


class Configurable:
    """Base class of objects that can be made again from the arguments of their ``__init__``.

    The arguments are checked and recorded as they are bound, defaults included; a subclass needs
    no `get_config`, and may extend it as in Keras.

    >>> class Scale(Configurable):
    ...     def __init__(self, factor=2.0, **options):
    ...         super().__init__(**options)
    ...         self.factor = factor
    >>> Scale(3.0)
    Scale(factor=3.0)
    >>> Scale.from_config({"factor": 4.0}).get_config()
    {'factor': 4.0}
    >>> Scale(fctor=3.0)
    Traceback (most recent call last):
    TypeError: Scale takes no argument 'fctor': did you mean 'factor'? Its arguments are: factor.
    """

    # An attribute that the base's __init__ sets: where it is missing, super().__init__() was not
    # called. None for bases whose __init__ does nothing.
    _set_by_init: ClassVar[str | None] = None
    _arguments: SimpleNamespace  # no dictionary: layers and weights in it are not sublayers

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the keywords and record the arguments."""
        check_arguments(cls.__init__, cls.__name__, kwargs)
        made = super().__new__(cls)
        made.__dict__["_arguments"] = SimpleNamespace(**_bind(cls, args, kwargs))
        return made

    def __init__(self, **unknown: Any) -> None:
        for keyword in unknown:
            kind = type(self)
            raise unknown_argument(kind.__name__, keyword, _keywords_of(kind))

    if not TYPE_CHECKING:  # or else every attribute would exist for type checkers

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says so where `super().__init__()` was not called."""
            kind = type(self).__name__
            required = self._set_by_init
            if required is not None and required not in vars(self):
                raise MissingInitError(
                    f"{kind}.__init__ did not call super().__init__(), which sets {name!r}: call "
                    "it first in __init__."
                )
            return object.__getattribute__(self, name)  # raises, as the property that failed

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an object like this one, as `from_config` takes them."""
        return dict(vars(self._arguments))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return a new object with the arguments that `get_config` returned."""
        config, positional = dict(config), []
        parameters = _parameters_of(cls)
        variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        for parameter in parameters:
            name = parameter.name
            if name not in config or parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += config.pop(name)
            elif parameter.kind is parameter.POSITIONAL_ONLY or (
                variadic in config and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            ):
                positional.append(config.pop(name))
        return cls(*positional, **config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def _parameters_of(kind: type) -> list[inspect.Parameter]:
    return list(inspect.signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]


def _bind(kind: type, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``__init__`` by name; none where ``__init__`` will refuse them."""
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:  # also a copy, which is given its attributes instead
        return {}
    bound.apply_defaults()
    _, *rest = bound.arguments.items()
    arguments: dict[str, Any] = {}
    for name, value in rest:
        kind_of = signature.parameters[name].kind
        if kind_of is inspect.Parameter.VAR_KEYWORD:
            arguments |= value
        elif kind_of is not inspect.Parameter.VAR_POSITIONAL or len(value):
            arguments[name] = value
    return {name: plain(value) for name, value in arguments.items()}


def _keywords_of(kind: type) -> list[str]:
    """Return the keywords that a class takes, those that it passes on to its bases included."""
    found: dict[str, None] = {}
    for base in kind.__mro__:
        if base is Configurable:
            break
        if "__init__" not in vars(base):
            continue
        parameters = _parameters_of(base)
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found |= {p.name: None for p in parameters if p.kind not in variadic}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(found)


class Registry(Generic[T]):
    """The classes of one kind by their names, and how their instances are written down.

    Names are class names, names in snake_case and aliases, in upper or lower case.

    Arguments:
        kind: what messages call one of them, such as ``"loss"``.
        base: their base class.
        objects: holds the classes, which have their own names; what else it holds is passed over,
            so that it may be ``globals().values()``.
        aliases: further names.
        function: what messages call a function that is accepted as well, None if none is.

    >>> class Rule(Configurable):
    ...     pass
    >>> class Same(Rule):
    ...     def __init__(self, times=1):
    ...         pass
    >>> registry = Registry("rule", Rule, [Same], {"identity": Same})
    >>> registry.get("Same"), registry.get("same"), registry.get("IDENTITY")
    (Same(times=1), Same(times=1), Same(times=1))
    >>> registry.serialize(Same(3))
    {'class_name': 'Same', 'config': {'times': 3}}
    """

    def __init__(
        self,
        kind: str,
        base: type[T],
        objects: Iterable[Any],
        aliases: Mapping[str, Any] | None = None,
        function: str | None = None,
    ) -> None:
        self.kind, self.base, self.function = kind, base, function
        self._classes = {item.__name__: item for item in objects if _is_public(item, base)}
        self._named = {snake_case(name): item for name, item in self._classes.items()}
        self._named |= dict(aliases or {})
        self.names = sorted(self._named)
        self._table = {_key(name): item for name, item in self._named.items()}

    def find(self, name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the class of a name, or a custom object; raise `ValueError` if it is unknown."""
        if custom_objects and name in custom_objects:
            return custom_objects[name]
        if name in self._classes:
            return self._classes[name]
        return self._table.get(_key(name)) or find(self.kind, name, self._named)

    def get(self, identifier: Any) -> Any:
        """Return an object of a name, a class, a config, a function, or the object given.

        Raises:
            ValueError: if a name is unknown.
            TypeError: if `identifier` is none of these.
        """
        if isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, str | Mapping):
            return self.deserialize(identifier)
        if isinstance(identifier, type):
            if issubclass(identifier, self.base):
                return identifier()
        elif self.function is not None and callable(identifier):
            return identifier
        functions = f", or a function {self.function}" if self.function else ""
        raise TypeError(
            f"Expected {self._a_kind()}: a name such as {self.names[0]!r}, or an instance of "
            f"{self.base.__name__}{functions}; received {identifier!r} of type "
            f"{type(identifier).__name__}."
        )

    def serialize(self, item: Any) -> Any:
        """Return an object as a dictionary of its class name and config, a function as its name."""
        if isinstance(item, Configurable):
            config = {name: self.serialize(value) for name, value in item.get_config().items()}
            return {"class_name": type(item).__name__, "config": config}
        if isinstance(item, list | tuple):
            return [self.serialize(value) for value in item]
        return item.__name__ if callable(item) and hasattr(item, "__name__") else item

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the object that `serialize` wrote down, or one of a name.

        Arguments:
            config: a name, or a dictionary with ``class_name`` and ``config``.
            custom_objects: custom classes and functions by name.
        """
        if isinstance(config, str):
            found = self.find(config, custom_objects)
            return found() if isinstance(found, type) else found
        if not isinstance(config, Mapping) or "class_name" not in config:
            raise ValueError(
                f"Expected {self._a_kind()} as a dictionary with 'class_name' and 'config', "
                f"received {config!r}."
            )
        return self.find(config["class_name"], custom_objects).from_config(config.get("config", {}))

    def _a_kind(self) -> str:
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"


def _is_public(item: Any, base: type) -> bool:
    """Return whether an object is a class of a kind, other than their base."""
    is_class = isinstance(item, type) and issubclass(item, base) and item is not base
    return is_class and not item.__name__.startswith("_")


def _key(name: str) -> str:
    return name.replace("_", "").lower()
