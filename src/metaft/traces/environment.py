"""Where a run took place: versions and hardware."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Environment:
    """Versions and hardware of the process that made a run.

    Attributes:
        python_version, torch_version, transformers_version, timm_version, metaft_version:
            As installed; empty where a package is missing.
        cpu_model: As the operating system names it.
        cpu_cores: Logical cores of the machine.
        threads: Threads that torch computed with.
        gpu_name: Empty without a GPU.
    """

    python_version: str
    torch_version: str
    transformers_version: str
    timm_version: str
    metaft_version: str
    cpu_model: str
    cpu_cores: int
    threads: int
    gpu_name: str


def describe_environment() -> Environment:
    """Describe this process and its machine."""
    import torch

    return Environment(
        python_version=platform.python_version(),
        torch_version=_version_of("torch"),
        transformers_version=_version_of("transformers"),
        timm_version=_version_of("timm"),
        metaft_version=_version_of("metaft"),
        cpu_model=_cpu_model(),
        cpu_cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        gpu_name=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    )


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
