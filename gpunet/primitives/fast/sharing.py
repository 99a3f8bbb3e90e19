"""How several threads run one kernel, without Python's lock, which takes long to hand over.

A kernel's call writes at a desk, in machine code, what there is to do, and opens it as a job;
helpers, which watch the desk in machine code too, join the job and take tasks of it; the caller
closes the job when no task is left, and waits until no helper is at work any more.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from gpunet.primitives.fast.simd import Codegen

__all__ = ["add_now", "help_for_ever", "make_desk", "next_task", "pause", "wait_for"]

# Where a desk holds what, in int64; place 0 is the next task of the job. Those that threads watch
# are 16 apart: a processor fetches two lines of 64 bytes at once.
_JOB = 16  # the number of the open job, or 0
_AT_WORK = 32  # how many helpers are
_HELPERS = 48  # how many there are at all
_JOBS = 49  # how many were opened
_CODE = 50  # what the job calls
_ARGUMENTS = 51  # and with what, of any types
_ASLEEP = 512  # 1 if the first helper sleeps; the others' follow, each 16 after the one before
_LOCK = 1  # after that place: the address of the lock on which the helper sleeps

# Looks, with a pause of some 15 to 50 nanoseconds after each: before a helper sleeps, and before a
# thread that waits for another leaves the processor to others.
_MOMENT, _FEW = 10_000, 500

_INTEGER, _STATUS = ir.IntType(64), ir.IntType(32)
_WORK = ir.FunctionType(_STATUS, [_INTEGER.as_pointer(), _INTEGER])

_OPTIONS = {"error_model": "numpy", "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
_inner = numba.njit(**_OPTIONS)


def make_desk(helpers: int) -> NDArray[np.int64]:
    """Return a desk without a job, for a caller and some helpers."""
    desk = np.zeros(_ASLEEP + 16 * helpers, np.int64)
    desk[_HELPERS] = helpers
    for place in range(_ASLEEP, desk.size, 16):
        lock = _new_lock()
        _take_lock(lock, 1)  # who takes it again sleeps until another thread releases it
        desk[place + _LOCK] = lock
    return desk


_new_lock = ctypes.pythonapi.PyThread_allocate_lock
_new_lock.restype = ctypes.c_void_p
_take_lock = ctypes.pythonapi.PyThread_acquire_lock
_take_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]


@numba.njit(**_OPTIONS, inline="always")
def next_task(counters: Any, tasks: int, worker: int) -> int:
    """Return the number of a task that no other thread gets; `tasks` or more if none is left.

    Kernels call it with their first parameters. The caller's first task opens the job for helpers;
    when there is no task left, the caller closes it. A desk without helpers is the caller's alone.
    """
    task = add_now(counters, 0, 1)
    if worker == 0 and counters[_HELPERS] > 0:
        if task == 0:  # nobody else could take the first
            _write_job(counters)
            _open_job(counters, tasks)
        if task >= tasks:
            _close_job(counters)
    return task


@_inner
def _open_job(desk: Any, tasks: int) -> None:
    """Show a job to helpers, and wake those that sleep, but no more than there are tasks for."""
    desk[_JOBS] += 1
    _swap_now(desk, _JOB, desk[_JOBS])
    for helper in range(min(desk[_HELPERS], tasks - 1)):
        place = _ASLEEP + 16 * helper
        if _swap_now(desk, place, 0) == 1:
            _release(desk[place + _LOCK])


@_inner
def _close_job(desk: Any) -> None:
    _swap_now(desk, _JOB, 0)
    looks = 0
    while read_now(desk, _AT_WORK) > 0:
        looks = _wait(looks)


@_inner
def wait_for(numbers: Any, place: int, least: int) -> None:
    """Return when numbers[place], which other threads change, is at least a number."""
    looks = 0
    while read_now(numbers, place) < least:
        looks = _wait(looks)


@_inner
def _wait(looks: int) -> int:
    """Wait a little, after some looks in vain; return how many looks there are with the next."""
    if looks < _FEW:
        pause()
    else:  # a thread that is waited for may wait for this processor
        _yield_now()
    return looks + 1


@_inner
def help_for_ever(desk: Any, worker: int) -> None:
    """Help with the jobs at a desk, and sleep when there was none for a moment; never return."""
    place = _ASLEEP + 16 * (worker - 1)
    seen = looks = 0
    while True:
        job = read_now(desk, _JOB)
        if job > seen:
            add_now(desk, _AT_WORK, 1)
            if read_now(desk, _JOB) == job:  # still open: its caller waits for those at work
                _work(desk, worker)
            add_now(desk, _AT_WORK, -1)
            seen, looks = job, 0
        elif looks < _MOMENT:
            looks += 1
            pause()
        else:
            _swap_now(desk, place, 1)
            # Looked at again: either a job is seen here, or its caller sees who sleeps.
            if read_now(desk, _JOB) <= seen or _swap_now(desk, place, 0) == 0:
                _acquire(desk[place + _LOCK])
            looks = 0


@intrinsic
def _write_job(typing_context: Any, desk: Any) -> tuple[Any, Codegen]:
    """Write the kernel that is compiled, and the arguments of its call, at a desk."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kernel = builder.function
        packed = ir.LiteralStructType([value.type for value in kernel.args])
        size = context.get_abi_sizeof(packed)
        if size > 8 * (_ASLEEP - _ARGUMENTS):
            raise NotImplementedError(f"The arguments of {kernel.name} take {size} bytes.")
        data = context.make_array(desk)(context, builder, args[0]).data
        code = builder.ptrtoint(_with_packed(kernel, packed), _INTEGER)
        builder.store(code, _place(builder, data, _CODE))
        target = builder.bitcast(_place(builder, data, _ARGUMENTS), packed.as_pointer())
        for number, value in enumerate(kernel.args):
            builder.store(value, _field(builder, target, number))
        return context.get_dummy_value()

    return types.none(desk), codegen


def _with_packed(kernel: Any, packed: Any) -> Any:
    """Return an LLVM function that calls a kernel for a worker, with arguments from an address."""
    name = f"work.{kernel.name}"
    if name in kernel.module.globals:
        return kernel.module.globals[name]
    function = ir.Function(kernel.module, _WORK, name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    source = builder.bitcast(function.args[0], packed.as_pointer())
    given = [builder.load(_field(builder, source, number)) for number in range(len(kernel.args))]
    # Numba's functions write their result and their error where the first two arguments point.
    given[:2] = [builder.alloca(value.type.pointee) for value in kernel.args[:2]]
    given[[value.name for value in kernel.args].index("arg.worker")] = function.args[1]
    builder.ret(builder.call(kernel, given))
    return function


def _place(builder: Any, data: Any, place: int) -> Any:
    return builder.gep(data, [ir.Constant(_INTEGER, place)])


def _field(builder: Any, struct: Any, number: int) -> Any:
    return builder.gep(struct, [_STATUS(0), _STATUS(number)], inbounds=True)


@intrinsic
def _work(typing_context: Any, desk: Any, worker: Any) -> tuple[Any, Codegen]:
    """Run the code of the job."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(desk)(context, builder, args[0]).data
        code = builder.inttoptr(builder.load(_place(builder, data, _CODE)), _WORK.as_pointer())
        builder.call(code, [_place(builder, data, _ARGUMENTS), args[1]])
        return context.get_dummy_value()

    return types.none(desk, types.int64), codegen


@intrinsic
def read_now(typing_context: Any, numbers: Any, place: Any) -> tuple[Any, Codegen]:
    """Return numbers[place] as it is now: other threads change it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(numbers)(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "seq_cst", 8)

    return types.int64(numbers, types.intp), codegen


def _in_one_step(operation: str) -> Any:
    """Return an intrinsic that changes numbers[place], and returns what was there before."""

    @intrinsic
    def change(typing_context: Any, numbers: Any, place: Any, value: Any) -> tuple[Any, Codegen]:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(numbers)(context, builder, args[0]).data
            return builder.atomic_rmw(operation, builder.gep(data, [args[1]]), args[2], "seq_cst")

        return types.int64(numbers, types.intp, types.int64), codegen

    return change


add_now, _swap_now = _in_one_step("add"), _in_one_step("xchg")


@intrinsic
def _acquire(typing_context: Any, lock: Any) -> tuple[Any, Codegen]:
    """Take one of Python's locks, by its address, as soon as it is free."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(context, builder, "PyThread_acquire_lock", args[0], _STATUS(1))

    return types.none(types.int64), codegen


@intrinsic
def _release(typing_context: Any, lock: Any) -> tuple[Any, Codegen]:
    """Free a lock."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(context, builder, "PyThread_release_lock", args[0])

    return types.none(types.int64), codegen


@intrinsic
def pause(typing_context: Any) -> tuple[Any, Codegen]:
    """Wait some nanoseconds; on x86 a core's other thread has its execution units meanwhile."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            function = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, function, name), [])
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def _yield_now(typing_context: Any) -> tuple[Any, Codegen]:
    """Leave the processor to a thread that waits for one."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(context, builder, _YIELD)

    return types.none(), codegen


def _call(context: Any, builder: Any, name: str, *args: Any) -> Any:
    kind = ir.FunctionType(_STATUS, [value.type for value in args])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)
    return context.get_dummy_value()


_YIELD = "gpunet_yield"
_system = ctypes.CDLL("kernel32" if os.name == "nt" else None)
_yield = _system.SwitchToThread if os.name == "nt" else _system.sched_yield
binding.add_symbol(_YIELD, ctypes.cast(_yield, ctypes.c_void_p).value)
