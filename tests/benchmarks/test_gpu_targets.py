"""Targets on a GPU, from made-up numbers."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.gpu_peers import OURS, OURS_EAGER, TORCH_COMPILED, TORCH_EAGER, TORCH_GRAPH
from benchmarks.gpu_targets import section, targets
from benchmarks.gpu_workloads import resnet_workloads

MEMORY = {OURS: 100, OURS_EAGER: 90, TORCH_EAGER: 250, TORCH_COMPILED: 300, TORCH_GRAPH: 400}


def made_up_step(batch: int, precision: str, *microseconds: float) -> dict[str, Any]:
    """Return a record of the contenders' times, in order."""
    results = {
        name: {
            "synchronized": {"median": 1.0},
            "pipelined": {"median": time * 1e-6},
            "memory": size << 20,
            "image_bytes": 50 << 20,
        }
        for (name, size), time in zip(MEMORY.items(), microseconds, strict=True)
    }
    return {"batch": batch, "precision": precision, "results": results}


def made_up_report() -> dict[str, Any]:
    """Return a made-up report that meets all targets, most of them by a small margin."""
    convolutions = []
    for work in resnet_workloads():
        record = {"kernel": work.primitive, "label": work.label, "precision": "fp32"}
        slow = work.label == "7x7x512 to 512" and work.primitive == "conv2d_backward_input"
        convolutions += [
            record | {"median": 6e-4 if slow else 5e-4},
            record | {"precision": "tf32", "median": 9.0},
            record | {"by": "PyTorch", "median": 4e-4},
            record | {"by": "PyTorch", "median": 5e-4},
        ]
    records = {
        "steps": [
            {"left_out": "made up"},
            made_up_step(32, "fp32", 40, 1000, 500, 200, 100),
            made_up_step(1024, "fp32", 250, 1000, 600, 350, 400),
            made_up_step(1024, "tf32", 200, 1000, 500, 300, 320),
        ],
        "epochs": [
            {"results": {OURS: {"epochs": 10, "seconds": 1.1, "accuracy": 0.99}}},
        ],
        "convolutions": [{"absent": "made up", "why": ""}, *convolutions],
    }
    return {
        "device": {"name": "Made-up H200"},
        "parts": {name: {"records": found} for name, found in records.items()},
    }


def verdicts(report: dict[str, Any]) -> list[bool | None]:
    return [target.met for target in targets(report)]


def test_the_section_lists_targets_and_values() -> None:
    lines = section(made_up_report())
    assert lines[-11:] == [
        "| training step, batch 32, float32, PyTorch eager / gpunet | "
        "at least 10x | 12.50x | yes |",
        "| training step, batch 32, float32, PyTorch's faster form / gpunet | at least 2x | 2.50x "
        "(PyTorch, CUDA graph) | yes |",
        "| training step, batch 32, float32, on an H200 | at most 50 us | 40.00 us | yes |",
        "| training step, batch 1024, float32, PyTorch eager / gpunet | "
        "at least 2x | 2.40x | yes |",
        "| training step, batch 1024, float32, PyTorch's faster form / gpunet | at least 1.3x | "
        "1.40x (PyTorch compiled) | yes |",
        "| training step, batch 1024, TF32, PyTorch eager / gpunet | at least 2x | 2.50x | yes |",
        "| training step, batch 1024, TF32, PyTorch's faster form / gpunet | at least 1.3x | 1.50x "
        "(PyTorch compiled) | yes |",
        "| 10 epochs of MNIST, batch 32, float32 | at most 1.2 s | 1.10 s | yes |",
        "| test accuracy after 10 epochs | at least 0.985 | 0.9900 | yes |",
        "| ResNet-50's 3x3 convolutions and gradients, batch 32, float32, lowest ratio, "
        "cuDNN / gpunet | at least 0.6x | 0.67x (conv2d_backward_input, 7x7x512 to 512) | yes |",
        "| peak memory of a training step, batch 1024, float32, gpunet / PyTorch's lowest | "
        "at most 0.5x | 0.40x (100 MiB / 250 MiB of PyTorch eager; both include 50 MiB of images) "
        "| yes |",
    ]


def test_missed_targets() -> None:
    report = made_up_report()
    for record in report["parts"]["steps"]["records"][1:]:
        ours = record["results"][OURS]
        ours["pipelined"] = {"median": 2 * ours["pipelined"]["median"]}
        ours["memory"] *= 2
    report["parts"]["epochs"]["records"][0]["results"][OURS] |= {"seconds": 1.3, "accuracy": 0.98}
    for record in report["parts"]["convolutions"]["records"][1:]:
        record["median"] *= 1 if "by" in record else 2
    assert verdicts(report) == [False] * 11
    assert sum("| **no** |" in line for line in section(report)) == 11


def test_targets_without_a_measurement() -> None:
    report = made_up_report() | {"parts": {}}
    assert verdicts(report) == [None] * 11
    assert sum("|  | not measured |" in line for line in section(report)) == 11


@pytest.mark.parametrize("name", [OURS, TORCH_EAGER])
def test_a_ratio_needs_both_times(name: str) -> None:
    report = made_up_report()
    for record in report["parts"]["steps"]["records"][1:]:
        record["results"][name] = {"why": "made up"}
    met = verdicts(report)
    assert met[0] is met[3] is met[5] is None
    assert (met[2] is None) == (met[10] is None) == (name == OURS)


@pytest.mark.parametrize("name", [TORCH_COMPILED, TORCH_GRAPH])
def test_the_faster_form_needs_both_forms(name: str) -> None:
    report = made_up_report()
    report["parts"]["steps"]["records"][1]["results"][name] = {"why": "made up"}
    assert verdicts(report)[:2] == [True, None]


def test_the_absolute_target_is_for_an_h200_only() -> None:
    assert verdicts(made_up_report() | {"device": {"name": "Made-up H100"}})[2] is None


def test_fewer_than_ten_epochs_do_not_count() -> None:
    report = made_up_report()
    report["parts"]["epochs"]["records"][0]["results"][OURS]["epochs"] = 9
    assert verdicts(report)[7:9] == [None, None]


def test_the_lowest_ratio_needs_all_convolutions() -> None:
    report = made_up_report()
    del report["parts"]["convolutions"]["records"][1]
    assert verdicts(report)[9] is None
