"""What is packed is what is in the tree: built the way that a release is, sdist first, then the wheel from it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKS = ("train", "optimize", "runtime", "devices")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def tree(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {n for n in names if ".dist-info/" not in n} == tree("edgefer")
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


@pytest.mark.slow
def test_the_sdist_holds_package_and_tests_once_each(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [n.partition("/")[2] for n in archive.getnames()]
    assert len(names) == len(set(names))
    assert {n for n in names if n.startswith("edgefer/")} == tree("edgefer")
    assert {n for n in names if n.startswith("tests/")} == tree("tests")
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= set(names)
    assert not [n for n in names if n.split("/")[0] in (*LINKS, "benchmarks")]


def test_the_stages_are_seen_at_the_top() -> None:
    for name in LINKS:
        assert (ROOT / name).resolve() == ROOT / "edgefer" / name
        assert (ROOT / name).is_dir()
