"""The layers of the package: import-linter reads the code, a fresh process shows what is really imported."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEVICE_SIDE = ["bundle", "preprocess", "metrics", "errors", "cartoon", "runtime", "devices", "doctor"]

# Modules are importable without the runtime or camera that they are for: it is imported when it is opened.
IMPORT_THEM_ALL = """
import importlib, json, pkgutil, sys
names = ["edgefer." + name for name in sys.argv[1:]]
for name in names:  # grows while it is walked
    path = getattr(importlib.import_module(name), "__path__", [])
    names += [name + "." + module.name for module in pkgutil.iter_modules(path)]
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(code: str, *arguments: str) -> set[str]:
    """Return what a fresh process has imported after `code`, which prints sys.modules as JSON."""
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


def top_names(modules: set[str]) -> set[str]:
    return {m.partition(".")[0] for m in modules}


def test_every_import_keeps_to_the_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_device_side_imports_no_training_package() -> None:
    modules = modules_after(IMPORT_THEM_ALL, *DEVICE_SIDE)
    assert "edgefer.runtime.engines.litert" in modules
    assert not top_names(modules) & {"tensorflow", "keras", "tf_keras", "torch", "jax", "matplotlib"}
    assert not [m for m in modules if m.startswith(("edgefer.train", "edgefer.optimize", "edgefer.bench"))]


def test_importing_edgefer_imports_nothing_heavy() -> None:
    modules = modules_after("import edgefer, json, sys; print(json.dumps(sorted(sys.modules)))")
    assert "edgefer" in modules
    assert not top_names(modules) & {"numpy", "cv2", "click"}
