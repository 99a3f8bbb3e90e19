"""The base of every layer."""

from __future__ import annotations

import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet import functions, initializers, regularizers, symbolic
from gpunet.arguments import boolean
from gpunet.autograd import Array, Parameter, Tensor, no_grad
from gpunet.backend import asarray
from gpunet.configurable import Configurable
from gpunet.layers.building import (
    STRINGS,
    Shape,
    as_sample_shape,
    built_once,
    checked_name,
    name_layer,
    unbuilt_on_error,
    weight_dtype,
)
from gpunet.layers.masks import as_masks, masks_of, pass_masks
from gpunet.layers.roles import attribute_was_set
from gpunet.layers.tracking import Replaceable, WeightOwner, describe, unique_name
from gpunet.naming import snake_case
from gpunet.symbolic import Symbol

__all__ = ["Layer", "Shape", "collect_updates", "is_frozen", "is_training", "set_update"]

_serial_numbers = itertools.count()
_training: ContextVar[bool] = ContextVar("training", default=False)
_frozen: ContextVar[bool] = ContextVar("frozen", default=False)
_updates: ContextVar[list[tuple[Parameter, Array, float]] | None] = ContextVar(
    "updates", default=None
)


class Layer(WeightOwner, Configurable):
    """A function with weights: subclasses write `build`, which makes them, and `call`.

    Layers and weights in the attributes of a layer, also in lists, tuples and dictionaries, are its
    own. Tensors computed in `call` by operators and `gpunet.functions` are differentiated.

    Arguments:
        input_shape: of one sample, without the batch; a model can then be built before any data.
        input_dim: for samples of one axis, in place of ``input_shape=(input_dim,)``.
        name: for messages, `summary()` and the paths of weights; by default after the class.
        trainable: False to exclude the layer's weights from training. To set it sets that of the
            layers in it too, which may then be set otherwise.
        dtype: of the weights, 'float32', which None stands for, or 'float64'.
        activity_regularizer: a name or instance of `gpunet.regularizers`, or a function of the
            output; its result, divided by the batch size, is added to the loss that is trained.

    Attributes:
        serial_number: greater than those of the layers that were made before.
        supports_masking: whether the output has the mask that `compute_mask` returns; True where a
            subclass defines `compute_mask`, and may be set.
        creates_mask: whether the output may have a mask where no input has one.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    ...
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale()(np.ones((2, 3), "float32")).shape
    (2, 3)
    """

    _set_by_init = "built"
    _call_parameters: frozenset[str]
    _mask_parameters: tuple[tuple[int, str], ...] = ()
    supports_masking = False
    creates_mask = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "build" in vars(cls) and not hasattr(cls.build, "wraps_build"):
            cls.build = built_once(cls.build)  # type: ignore[method-assign]
        if "compute_mask" in vars(cls):
            cls.supports_masking = vars(cls).get("supports_masking", True)
            cls.creates_mask = vars(cls).get("creates_mask", True)
        names = list(inspect.signature(cls.call).parameters)
        cls._call_parameters = frozenset(names)
        # The positions and names of inputs whose mask `call` takes as another argument.
        cls._mask_parameters = tuple(
            (position, name)
            for position, name in enumerate(names[1:])
            if f"{name}_mask" in cls._call_parameters
        )

    def __init__(
        self,
        *,
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        self.name = checked_name(name) or snake_case(type(self).__name__)
        self.named_by_user, self.named_by_model = name is not None, False
        self.serial_number = next(_serial_numbers)
        vars(self)["trainable"] = boolean(trainable, "trainable", self.name)
        self.dtype = weight_dtype(dtype, self.name)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = self._is_building = False
        self.input_shape: Any = None  # with the batch, once built; several inputs: a structure
        if input_dim is not None:
            input_shape = as_sample_shape(input_dim, "input_dim")
        self.given_input_shape = None if input_shape is None else as_sample_shape(input_shape)
        self._weights: list[Parameter] = []
        self._symbols: tuple[Any, Any] = (None, None)  # weak: of a call on symbols

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        attribute_was_set()
        if name == "trainable":
            for layer in self.with_sublayers():
                layer.set_trainable_alone(value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        attribute_was_set()

    # Methods that subclasses write

    @built_once
    def build(self, input_shape: Any) -> None:
        """Make the weights; called once, with the shape of the inputs, whose batch size is None."""

    def call(self, x: Any) -> Any:
        """Return the output; may also take further inputs, ``training`` and ``mask``."""
        raise NotImplementedError(f"{type(self).__name__} does not define call(self, x).")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output; by default found by calls on zeros."""
        leaves = _map_shapes(lambda shape: Symbol(shape, self.compute_dtype), input_shape)
        outputs = symbolic.infer(self.dry_call, (leaves,), {})
        return symbolic.map_structure(lambda symbol: symbol.shape, outputs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the output: None, or a bool array; by default that of the input.

        Arguments:
            inputs: of the layer.
            previous_mask: the masks of the inputs, None where none has one.
        """
        return previous_mask

    def check_input(self, shape: Any) -> None:
        """Raise `ValueError` if the layer, once built, cannot take an input of this shape."""

    def takes_integers(self) -> bool:
        """Return whether inputs of integers are kept as they are; by default they are cast."""
        return False

    # Methods for subclasses to use

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = "glorot_uniform",
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        regularizer: Any = None,
    ) -> Parameter:
        """Return a new weight of this layer.

        Arguments:
            shape: sizes; an integer stands for one axis.
            initializer: a name or instance of `gpunet.initializers`; None is 'glorot_uniform'.
            name: unique within the layer; by default 'weight', with a number from the second on.
            trainable: False for a weight that no optimizer changes.
            dtype: by default the layer's.
            regularizer: a name or instance of `gpunet.regularizers`, or a function of the weight;
                its result is added to the loss that is trained.
        """
        sizes = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
        if any(isinstance(s, bool) or not isinstance(s, int | np.integer) for s in sizes):
            raise ValueError(
                f"add_weight expects a shape of integers, received {shape!r}: sizes that are not "
                "known, such as the batch size, cannot be sizes of a weight."
            )
        taken = {weight.name for weight in self._weights}
        if checked_name(name) in taken:
            raise ValueError(
                f"add_weight received the name {name!r}, which another weight of this layer has: "
                "give each weight a name of its own."
            )
        dtype = self.dtype if dtype is None else weight_dtype(dtype, self.name)
        value = initializers.get(initializer or "glorot_uniform")(sizes, dtype=dtype)
        name = name or unique_name("weight", taken.__contains__)
        parameter = Parameter(asarray(value), name=name, trainable=trainable)
        parameter.regularizer = regularizers.get(regularizer)
        self._weights.append(parameter)
        return parameter

    def add_update(self, parameter: Parameter, value: Any, momentum: float = 0.0) -> None:
        """Set a weight that training changes otherwise than by gradients, as a moving average.

        With momentum the weight becomes ``weight * momentum + value * (1 - momentum)``.

        Within a training step the value is set just before the optimizer's update, which goes on
        from it where the weight is trained too, and not at all if the step fails; elsewhere it is
        set at once.
        """
        array = value.value if isinstance(value, Tensor) else value
        pending = _updates.get()
        if pending is None:
            set_update(parameter, array, momentum)
        else:
            pending.append((parameter, array, momentum))

    def add_loss(self, loss: Any) -> None:
        """Add a loss to the one that is trained, from within `call`.

        It counts in the training step, the evaluation or the `regularizers.collect_losses()` that
        the layer is called in; elsewhere nothing happens.

        Arguments:
            loss: a tensor of one number, or a list of them.
        """
        vars(self)["adds_losses"] = True  # no attribute of which fusion would take note
        regularizers.add_loss(loss, f"add_loss of layer {self.name!r}")

    # Calls

    def __call__(
        self, *args: Any, training: bool | None = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """Return ``call(*args, **kwargs)``; the first call builds the layer.

        Arguments:
            args: tensors, arrays, or lists that make one; a list, tuple or dictionary of arrays is
                several inputs. The first is cast to the layer's dtype.
            training: by default as in the layer that calls this one, and False outermost.
            mask: bool array (batch, ...) of the first axes of the input, or one for each input,
                False where a step is padding; by default the input's own. Passed on to `call` if
                that takes it.
            kwargs: passed on.
        """
        if symbolic.is_symbolic(args, kwargs):
            return self._record(args, kwargs, training, mask)
        return self.run(self.call, args, kwargs, training, mask)

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        training: bool | None,
        mask: Any = None,
    ) -> Any:
        """Return the output of a function in place of `call`, with what else a call does."""
        token = None if training is None else _training.set(bool(training))
        freezes = not self.trains_within(not _frozen.get())
        frozen = None if freezes == _frozen.get() else _frozen.set(freezes)
        try:
            args = self._prepare(args)
            masks = masks_of(args[0])
            if mask is not None:
                args, masks = self._take_mask(args, mask)
            options = self._options(args, kwargs, masks)
            output = _checked_output(function(*args, **kwargs, **options))
            if self.activity_regularizer is not None:
                self._add_activity_loss(output)
            if masks is not None or self.creates_mask:
                output = pass_masks(self, args[0], output, masks)
            return output
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(error, TypeError) and _is_of_this_frame(error):
                takes = ", ".join(inspect.signature(function).parameters)
                misfit = TypeError(f"{error}: the arguments of its call are ({takes}).")
                name_layer(misfit, self)
                raise misfit from None
            name_layer(error, self)
            raise
        finally:
            if frozen is not None:
                _frozen.reset(frozen)
            if token is not None:
                _training.reset(token)

    def _add_activity_loss(self, output: Any) -> None:
        for each in symbolic.flatten(output):
            loss = regularizers.activity_loss(self.activity_regularizer, each, self.name)
            regularizers.add_loss(loss, self.name)

    def _prepare(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the inputs as tensors, after building and checking for their shapes."""
        if not args:
            raise TypeError(f"{type(self).__name__} expects an input, received none.")
        first = self._as_inputs(args[0])
        others = tuple(self._as_tensor(x) if _is_array(x) else x for x in args[1:])
        shape = _shapes(first)
        if not self.built:
            self._build_with(_map_shapes(_without_batch, shape), others)
        self.check_input(shape)
        return (self._cast(first), *others)

    def _as_inputs(self, x: Any) -> Any:
        if isinstance(x, dict):
            return {key: self._as_inputs(item) for key, item in x.items()}
        if isinstance(x, list | tuple) and any(_is_array(item) for item in x):
            return [self._as_inputs(item) for item in x]
        return self._as_tensor(x)

    def _build_with(self, shape: Any, others: tuple[Any, ...]) -> None:
        """Call `build` with the shape of the first input, or those of all that it takes."""
        parameters = inspect.signature(self.build).parameters
        shapes = [shape, *(_without_batch(x.shape) for x in others if _is_array(x))]
        self.build(*shapes[: len(parameters)])

    def _take_mask(self, args: tuple[Any, ...], mask: Any) -> tuple[tuple[Any, ...], Any]:
        """Return the arguments of a call that was given a mask, and the mask as it is used."""
        if "mask" not in self._call_parameters:
            raise TypeError(f"{type(self).__name__}.call takes no mask: leave mask= out.")
        return args, as_masks(mask, args[0])

    def _options(self, args: tuple[Any, ...], kwargs: dict[str, Any], masks: Any) -> dict[str, Any]:
        """Return what `call` gets beside its inputs: training, and the masks that it takes."""
        options: dict[str, Any] = {}
        if "training" in self._call_parameters:
            options["training"] = _training.get()
        if masks is not None and "mask" in self._call_parameters:
            options["mask"] = masks
        for position, name in self._mask_parameters:
            x = args[position] if position < len(args) else kwargs.get(name)
            if f"{name}_mask" not in kwargs and (found := masks_of(x)) is not None:
                options[f"{name}_mask"] = found
        return options

    def _record(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None, mask: Any
    ) -> Any:
        """Return the symbols of the output, after building the layer for those of the input."""
        try:
            with nullcontext() if self.built else unbuilt_on_error(self):
                if not self.built:
                    self._build_with(_shapes(args[0]), args[1:])
                given = {"training": training, "mask": mask}
                kwargs = kwargs | {key: item for key, item in given.items() if item is not None}
                outputs = self.output_symbols(args, kwargs)
        except (TypeError, ValueError) as error:
            name_layer(error, self)
            raise
        result = symbolic.record(self, args, kwargs, outputs)
        self.remember_symbols(args[0], result)
        return result

    def remember_symbols(self, inputs: Any, outputs: Any) -> None:
        """Keep weak references to symbols, for `input` and `output`, as long as they are in use."""
        if self._kept_symbols(0) is not None and self._kept_symbols(1) is not None:
            return  # of an earlier call
        weak = [symbolic.map_structure(_weak, symbols) for symbols in (inputs, outputs)]
        self._symbols = weak[0], weak[1]

    def output_symbols(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return symbols of the output's shapes: by formula if there is one, else by dry calls."""
        has_formula = type(self).compute_output_shape is not Layer.compute_output_shape
        plain = kwargs.keys() <= {"training", "mask"} and not symbolic.symbols_in(kwargs)
        if has_formula and len(args) == 1 and plain:
            shape = _shapes(args[0])
            self.check_input(shape)
            dtype = self.compute_dtype
            return _map_shapes(lambda s: Symbol(s, dtype), self.compute_output_shape(shape))
        return symbolic.infer(self.dry_call, args, kwargs)

    def dry_call(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of a call that leaves the state of the layer as it is."""
        state = [(w, w.value.copy()) for w in self.weights if not w.trainable]
        with no_grad(), collect_updates(), regularizers.collect_losses():
            output = self(*args, **kwargs)
        for weight, value in state:
            weight.value[...] = value
        return output

    def _as_tensor(self, x: Any, like: Any = None, keep_integers: bool | None = None) -> Tensor:
        """Return a tensor of `x` where the weights are, and of their dtype.

        Arguments:
            x: a tensor, or anything that makes one.
            like: an array of the weights where that is known; to find one takes time.
            keep_integers: by default as `takes_integers` says.
        """
        if isinstance(x, Tensor):
            return x
        if x is None:
            raise TypeError("expected an array or a tensor, received None.")
        if isinstance(x, np.ma.MaskedArray):
            raise TypeError(
                "expected plain numbers, received a masked array, whose masked values would be "
                "used: fill them, such as by x.filled(0)."
            )
        if like is None and (weight := self._first_weight()) is not None:
            like = weight.value
        dtype = self.dtype if like is None else like.dtype
        if hasattr(x, "dtype") and x.dtype.kind in "biu":
            keep = self.takes_integers() if keep_integers is None else keep_integers
            dtype = x.dtype if keep else dtype
        try:
            return Tensor(asarray(x, dtype=dtype, like=like))
        except ValueError as error:
            if "string" in str(error):
                raise TypeError(STRINGS) from None
            raise

    def _cast(self, x: Any) -> Any:
        """Return the inputs in the dtype of the layer's own weights, if it has any."""
        if not self._weights:
            return x
        dtype = self._weights[0].dtype
        if isinstance(x, Tensor):
            if x.dtype == dtype or (x.dtype.kind != "f" and self.takes_integers()):
                return x
            cast = functions.astype(x, dtype)
            cast.mask = x.mask
            return cast
        return symbolic.map_structure(self._cast, x)

    # Symbols of the first call that are still in use

    @Replaceable
    def input(self) -> Any:
        """The symbols of the input, where the layer is part of a graph."""
        return self._strong(0, "input")

    @Replaceable
    def output(self) -> Any:
        """The symbols of the output, where the layer is part of a graph.

        >>> from gpunet import Input
        >>> from gpunet.layers import Dense
        >>> from gpunet.models import Sequential
        >>> model = Sequential([Input((3,)), Dense(2), Dense(1)])
        >>> model.layers[0].output.shape
        (None, 2)
        """
        return self._strong(1, "output")

    def _strong(self, position: int, what: str) -> Any:
        found = self._kept_symbols(position)
        if found is None:
            raise AttributeError(
                f"{describe(self)} has no {what}: it is not part of a graph. Put it into a model "
                "with a known input shape, or call it on an Input."
            )
        return found

    def _kept_symbols(self, position: int) -> Any:
        """Return the symbols of the input (0) or output (1); None where some are gone."""
        references = self._symbols[position]
        if references is None:
            return None
        found = symbolic.map_structure(lambda reference: reference(), references)
        return None if any(symbol is None for symbol in symbolic.flatten(found)) else found

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_symbols": (None, None)}  # weak references cannot be copied

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


Layer._call_parameters = frozenset({"x"})


def is_training(default: bool = False) -> bool:
    """Return whether the current layer is called in training.

    Arguments:
        default: where neither the call nor one around it has said so.
    """
    return _training.get(default)


def is_frozen() -> bool:
    """Return whether the current layer is frozen, by itself or with one that calls it."""
    return _frozen.get()


@contextmanager
def collect_updates() -> Iterator[list[tuple[Parameter, Array, float]]]:
    """Collect what `Layer.add_update` sets inside the block, in place of setting it."""
    pending: list[tuple[Parameter, Array, float]] = []
    token = _updates.set(pending)
    try:
        yield pending
    finally:
        _updates.reset(token)


def set_update(parameter: Parameter, value: Array, momentum: float) -> None:
    """Set a weight to a new value, or average this in; see `Layer.add_update`."""
    kept = parameter.value
    kept[...] = kept * momentum + value * (1 - momentum) if momentum else value


def _is_array(x: Any) -> bool:
    return isinstance(x, Tensor) or (hasattr(x, "shape") and hasattr(x, "dtype"))


def _shapes(x: Any) -> Any:
    """Return the shapes of tensors or symbols, in their structure."""
    if isinstance(x, dict):
        return {key: _shapes(item) for key, item in x.items()}
    return [_shapes(item) for item in x] if isinstance(x, list | tuple) else x.shape


def _without_batch(shape: Shape) -> Shape:
    return (None, *shape[1:])


def _map_shapes(function: Callable[[Shape], Any], shape: Any) -> Any:
    """Return ``function(shape)`` for a shape, or for each of a structure, in flat order."""
    if isinstance(shape, dict):
        return {key: _map_shapes(function, item) for key, item in shape.items()}
    if isinstance(shape, list) or (shape and isinstance(shape[0], list | tuple | dict)):
        return [_map_shapes(function, item) for item in shape]
    return function(shape)


def _weak(item: Any) -> Any:
    return weakref.ref(item) if isinstance(item, Symbol) else (lambda: item)


def _checked_output(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    leaves = symbolic.flatten(output)
    wrong = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)]
    if leaves and not wrong:
        return output
    within = f" of {wrong[0]}" if leaves and leaves[0] is not output else ""
    raise TypeError(
        f"call must return a Tensor, received {type(output).__name__}{within}, which has no "
        "gradient: compute with x, operators and gpunet.functions."
    )


def _is_of_this_frame(error: BaseException) -> bool:
    """Return whether the frame that caught an error raised it, as for arguments that do not fit."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None
