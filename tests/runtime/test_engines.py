"""One suite for every engine: a new file in edgefer/runtime/engines is tested from the moment that it exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import Bundle, describe, open_detector_bundle
from edgefer.cartoon.clip import clip
from edgefer.commands._shared import open_preferred
from edgefer.devices.profile import load_profile
from edgefer.errors import BundleError, EngineError, MissingDependencyError
from edgefer.letterbox import Letterbox
from edgefer.runtime import engines
from edgefer.runtime.engines import (
    LoadedEngine,
    Pictures,
    calibrated,
    choose,
    engine_names,
    installed_engines,
    open_artifact,
    open_engine,
    passed_over,
)
from edgefer.runtime.engines._batches import Batches, FixedBatches


@pytest.fixture(params=engine_names())
def name(request: pytest.FixtureRequest) -> str:
    """Every engine that is installed."""
    found = str(request.param)
    if not engines.is_installed(found):
        pytest.skip(f"{found} needs {engines.load(found).MODULE.partition('.')[0]}, which is not installed")
    return found


@pytest.fixture
def loaded(name: str, tiny_bundle: Bundle) -> LoadedEngine:
    if engines.load(name).FORMAT not in {a.format for a in tiny_bundle.artifacts}:
        pytest.skip(f"{tiny_bundle.path} has no {engines.load(name).FORMAT} artifact")
    return open_engine(tiny_bundle, name)


@pytest.fixture(scope="module")
def faces(tiny_bundle: Bundle) -> Pictures:
    images, _ = cartoon.dataset(2, 5)
    return np.stack([tiny_bundle.preprocess(image) for image in images])


def test_probabilities(loaded: LoadedEngine, faces: Pictures, tiny_bundle: Bundle) -> None:
    result = loaded.engine.run(faces)
    assert result.shape == (len(faces), len(tiny_bundle.labels))
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1.001
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=0.02)


def test_every_precision_of_the_bundle_runs(name: str, faces: Pictures, tiny_bundle: Bundle) -> None:
    for artifact in tiny_bundle.artifacts:
        if artifact.format == engines.load(name).FORMAT:
            opened = open_engine(tiny_bundle, name, artifact.precision)
            assert opened.artifact == artifact
            np.testing.assert_allclose(opened.engine.run(faces[:2]).sum(axis=1), 1, atol=0.02)
            opened.engine.close()


def test_a_batch_is_its_pictures_one_by_one(loaded: LoadedEngine, faces: Pictures) -> None:
    one_by_one = np.concatenate([loaded.engine.run(faces[i : i + 1]) for i in range(len(faces))])
    np.testing.assert_array_equal(loaded.engine.run(faces), one_by_one)


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 20, 33])
def test_an_answer_never_depends_on_the_faces_beside_it(loaded: LoadedEngine, tiny_bundle: Bundle, count: int) -> None:
    size = tiny_bundle.preprocess.size
    pictures = np.random.default_rng(count).integers(0, 256, (count, size, size, 1), np.uint8)
    alone = np.concatenate([loaded.engine.run(pictures[i : i + 1]) for i in range(count)])
    for _ in range(2):  # the first batch of a size is run otherwise than the next
        np.testing.assert_array_equal(loaded.engine.run(pictures), alone)
    np.testing.assert_array_equal(loaded.engine.run(pictures[::-1])[::-1], alone)


def test_no_picture_gives_no_row(loaded: LoadedEngine, faces: Pictures, tiny_bundle: Bundle) -> None:
    assert loaded.engine.run(faces[:0]).shape == (0, len(tiny_bundle.labels))


def test_the_same_picture_gives_the_same_answer(loaded: LoadedEngine, faces: Pictures) -> None:
    first = loaded.engine.run(faces)
    kept = first.copy()
    loaded.engine.run(faces[::-1])
    np.testing.assert_array_equal(loaded.engine.run(faces), kept)
    np.testing.assert_array_equal(first, kept)  # an answer is the caller's: no later run changes it


def test_pictures_need_not_be_contiguous_and_are_left_alone(loaded: LoadedEngine, faces: Pictures) -> None:
    mirrored = faces[:, :, ::-1]
    before = faces.copy()
    np.testing.assert_array_equal(loaded.engine.run(mirrored), loaded.engine.run(np.ascontiguousarray(mirrored)))
    np.testing.assert_array_equal(faces, before)


def test_two_threads_answer_as_one(loaded: LoadedEngine, name: str, faces: Pictures, tiny_bundle: Bundle) -> None:
    two = open_engine(tiny_bundle, name, loaded.artifact.precision, threads=2)
    np.testing.assert_allclose(two.engine.run(faces), loaded.engine.run(faces), atol=0.02)
    two.engine.close()


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.7, 20.0])
def test_the_temperature_of_the_bundle_is_applied(
    name: str, temperature: float, faces: Pictures, tiny_bundle: Bundle
) -> None:
    for artifact in tiny_bundle.artifacts:
        if artifact.format != engines.load(name).FORMAT:
            continue
        raw = open_engine(replace(tiny_bundle, temperature=1.0), name, artifact.precision).engine.run(faces)
        opened = open_engine(replace(tiny_bundle, temperature=temperature), name, artifact.precision)
        found = opened.engine.run(faces)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.argmax(axis=1), raw.argmax(axis=1))
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert (found[raw == 0] == 0).all()
        surer = found.max(axis=1) >= raw.max(axis=1) / raw.sum(axis=1) - 1e-6
        assert surer.all() if temperature < 1 else not surer.all()
        assert opened.engine.run(faces[:0]).shape == (0, len(tiny_bundle.labels))
        assert opened.engine.provider
        opened.engine.close()


def test_a_temperature_is_that_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (200, 7))
    for temperature in (0.3, 1.0, 2.5):
        given, expected = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, logits / temperature))
        np.testing.assert_allclose(calibrated(given.astype(np.float32), temperature), expected, atol=1e-6)


def test_labels_stay_where_float32_would_lose_them() -> None:
    half, more = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))
    given = np.array([[half, more], [more, half], [0, 0], [np.nan, 0.2], [1e-30, 1e-38]], np.float32)
    for temperature in (0.05, 20.0):
        found = calibrated(given, temperature)
        np.testing.assert_array_equal(found.argmax(axis=1), given.argmax(axis=1))
        np.testing.assert_array_equal(found[2], 0)
        assert np.isnan(found[3, 0])


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((1, 48, 48, 1), np.float32),
        np.zeros((1, 48, 48, 1), np.int8),
        np.zeros((1, 47, 48, 1), np.uint8),
        np.zeros((1, 64, 64, 1), np.uint8),
        np.zeros((1, 48, 48, 3), np.uint8),
        np.zeros((1, 48, 48), np.uint8),
        np.zeros((48, 48, 1), np.uint8),
    ],
    ids=lambda p: f"{p.dtype}{list(p.shape)}",
)
def test_other_input_is_refused(loaded: LoadedEngine, pictures: Pictures, tiny_bundle: Bundle) -> None:
    assert tiny_bundle.preprocess.size == 48
    with pytest.raises(EngineError, match="found") as caught:
        loaded.engine.run(pictures)
    assert "\n" not in str(caught.value)


def test_it_says_what_runs(loaded: LoadedEngine, name: str) -> None:
    assert loaded.name == name
    assert loaded.engine.provider
    assert loaded.engine.version[0].isdigit()


def test_what_a_runtime_raises_while_it_runs_names_the_engine(
    loaded: LoadedEngine, name: str, faces: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = getattr(loaded.engine, "_engine", loaded.engine)  # below the temperature

    class Broken:
        def __getattr__(self, _: str) -> object:
            raise RuntimeError("CUDA failure 700: an illegal memory access\nat gpu_data_transfer.cc:73")

    (runtime,) = [key for key in ("_interpreter", "_session", "_request") if hasattr(engine, key)]
    good = getattr(engine, runtime)
    monkeypatch.setattr(engine, runtime, Broken())
    with pytest.raises(EngineError, match=f"^{name} failed while it ran the model: CUDA failure 700") as caught:
        loaded.engine.run(faces)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(engine, runtime, good)
    assert len(loaded.engine.run(faces)) == len(faces)


def test_an_engine_that_was_closed_raises_its_error(loaded: LoadedEngine, name: str, faces: Pictures) -> None:
    loaded.engine.close()
    with pytest.raises(EngineError, match=f"^{name} failed while it ran the model"):
        loaded.engine.run(faces)


def test_providers_are_taken_by_every_engine(loaded: LoadedEngine, name: str, tiny_bundle: Bundle) -> None:
    again = open_engine(tiny_bundle, name, loaded.artifact.precision, providers=["NoSuchExecutionProvider"])
    assert again.engine.provider == loaded.engine.provider
    again.engine.close()


def test_opening_again_leaves_the_terminal_to_the_sinks(
    loaded: LoadedEngine, name: str, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redirected() -> None:
        raise AssertionError("file descriptors 1 and 2 were redirected, which another thread may be writing to")

    monkeypatch.setattr(engines.quiet, "native_chatter_silenced", redirected)
    open_engine(tiny_bundle, name).engine.close()


def test_closing_twice_is_fine(loaded: LoadedEngine) -> None:
    loaded.engine.close()
    loaded.engine.close()


@pytest.mark.parametrize("kind", ["noise", "empty", "cut"])
def test_wrong_bytes_are_refused(name: str, kind: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """As long as the manifest agrees with the file, it is the engine that has to refuse it."""
    artifact = tiny_bundle.artifact(engines.load(name).FORMAT)
    good = tiny_bundle.read(artifact.file)
    bad = {"noise": np.random.default_rng(0).bytes(2000), "empty": b"", "cut": good[: len(good) // 3]}[kind]
    (tmp_path / "model").write_bytes(bad)
    companions = []
    for i, file in enumerate(artifact.companions):
        data = tiny_bundle.read(file)
        (tmp_path / f"companion{i}").write_bytes(data)
        companions.append(describe(f"companion{i}", data))
    broken = replace(artifact, file=describe("model", bad), companions=tuple(companions))
    with pytest.raises(EngineError) as caught:
        open_engine(replace(tiny_bundle, path=tmp_path, artifacts=(broken,)), name)
    assert "\n" not in str(caught.value)
    assert f"{name} cannot load model" in str(caught.value)


def test_a_changed_file_never_reaches_the_engine(name: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    artifact = tiny_bundle.artifact(engines.load(name).FORMAT)
    data = bytearray(tiny_bundle.read(artifact.file))
    data[len(data) // 2] ^= 1
    (tmp_path / artifact.path).write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256"):
        open_engine(replace(tiny_bundle, path=tmp_path), name, artifact.precision)


def test_another_number_of_labels_is_refused(loaded: LoadedEngine, name: str, tiny_bundle: Bundle) -> None:
    fewer = replace(tiny_bundle, labels=tiny_bundle.labels[:-1])
    with pytest.raises(EngineError, match="but the bundle has 6 labels"):
        open_engine(fewer, name)


@pytest.mark.parametrize("engine", engine_names())
def test_what_is_not_installed_names_the_extra(
    engine: str, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = engines.load(engine)
    monkeypatch.setattr(module, "MODULE", "no_such_package.inner")
    extra = f"edgefer[{module.EXTRA}]" if module.EXTRA else "edgefer"
    with pytest.raises(MissingDependencyError) as caught:
        open_engine(tiny_bundle, engine)
    assert "'no_such_package', which is not installed" in str(caught.value)
    assert f"pip install '{extra}'" in str(caught.value)
    assert engine not in installed_engines()
    with pytest.raises(EngineError, match="is not installed"):
        choose(tiny_bundle, [engine])


@pytest.mark.parametrize("engine", engine_names())
def test_an_engine_file_keeps_to_the_contract(engine: str) -> None:
    module = engines.load(engine)
    assert module.FORMAT in ("tflite", "onnx", "openvino")
    assert module.EXTRA is None or isinstance(module.EXTRA, str)
    assert isinstance(module.MODULE, str)
    assert module.__doc__
    assert callable(module.Engine)


def test_an_unknown_engine_is_refused_with_those_that_exist(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="no engine called 'abacus'; choose one of: litert, onnxruntime"):
        open_engine(tiny_bundle, "abacus")


def test_choosing_takes_the_first_that_can_run_and_says_why(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.load("onnxruntime"), "MODULE", "no_such_package")
    name, notes = choose(tiny_bundle, ["onnxruntime", "litert"])
    assert name == "litert"
    assert notes == ["onnxruntime is not installed (pip install 'edgefer[onnxruntime]')"]


def test_training_weights_alone_cannot_run(tiny_bundle: Bundle) -> None:
    weights = SimpleNamespace(format="keras")
    with pytest.raises(EngineError, match=r"training weights only.*edgefer export"):
        choose(replace(tiny_bundle, artifacts=(weights,)), ["litert"])  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"no engine can run .*needs a tflite artifact"):
        choose(replace(tiny_bundle, artifacts=(SimpleNamespace(format="onnx"),)), ["litert"])  # type: ignore[arg-type]


def test_onnx_models_with_data_in_other_files_are_refused() -> None:
    module = engines.load("onnxruntime")
    if not engines.is_installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    with pytest.raises(EngineError, match="data in other files"):
        module.Engine([b"\x08\x08" + module.EXTERNAL_DATA + b"/etc/passwd"], 1)


def double(pictures: Pictures) -> engines.Probabilities:
    """An engine's call: what it answers to a picture is its first two pixels, doubled."""
    return pictures[:, 0, :2, 0].astype(np.float32) * 2


class Calls:
    """Counts the sizes of the batches that reach a model."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, pictures: Pictures) -> engines.Probabilities:
        self.sizes.append(len(pictures))
        return double(pictures)


@pytest.fixture
def squares() -> Pictures:
    return np.random.default_rng(1).integers(0, 256, (20, 2, 2, 1), np.uint8)


def test_a_gpu_gets_the_whole_frame(squares: Pictures) -> None:
    calls = Calls()
    np.testing.assert_array_equal(Batches(calls, 32)(squares), double(squares))
    np.testing.assert_array_equal(Batches(calls, 16)(squares), double(squares))
    assert calls.sizes == [20, 16, 4]


def test_a_model_of_a_fixed_batch_gets_no_other(squares: Pictures) -> None:
    calls = Calls()
    np.testing.assert_array_equal(FixedBatches(calls, 8)(squares), double(squares))
    assert calls.sizes == [8, 8, 8]


def test_batches_keep_whatever_shape_an_answer_has(squares: Pictures) -> None:
    def grids(pictures: Pictures) -> engines.Answers:
        return np.repeat(pictures[:, :, :1].astype(np.float32), 15, axis=3)

    for batches in (Batches(grids, 1), Batches(grids, 7), FixedBatches(grids, 8), FixedBatches(grids, 20)):
        answers = batches(squares)
        assert answers.shape == (20, 2, 1, 15)
        np.testing.assert_array_equal(answers, grids(squares))


# A detector's file gives more than a row for each picture, and its pictures are not square.


@pytest.fixture(params=[(120, 160), (240, 320), (480, 640)], ids=lambda size: f"{size[1]}x{size[0]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    found: tuple[int, int] = request.param
    return found


@pytest.fixture
def detector(name: str, size: tuple[int, int]) -> LoadedEngine:
    """A size of the detector that ships, in every engine."""
    bundle = open_detector_bundle()
    return open_artifact(bundle, bundle.sized(engines.load(name).FORMAT, size=size), name)


def scenes(size: tuple[int, int], count: int = 3) -> Pictures:
    """Return pictures as detectors take them: a drawn scene in grey, moved from one to the next."""
    picture, _ = Letterbox(*size)(next(clip(1, seed=0))[0])
    return np.stack([np.roll(picture, 16 * i, axis=1) for i in range(count)])


def test_a_grid_comes_out_as_it_is(detector: LoadedEngine, size: tuple[int, int]) -> None:
    pictures = scenes(size)
    answers = detector.engine.run(pictures)
    count, rows, columns, channels = answers.shape
    assert (count, columns, channels) == (len(pictures), size[1] // 8, 15)
    assert size[0] <= 8 * rows < size[0] + 32
    assert answers.dtype == np.float32
    assert np.isfinite(answers).all()
    one_by_one = np.concatenate([detector.engine.run(pictures[i : i + 1]) for i in range(len(pictures))])
    np.testing.assert_array_equal(answers, one_by_one)
    assert detector.engine.run(pictures[:0]).shape == (0, rows, columns, channels)


def test_a_picture_on_its_side_is_refused(detector: LoadedEngine, size: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match=r"the model takes pictures .* found"):
        detector.engine.run(scenes(size).swapaxes(1, 2))


def test_int8_answers_are_scaled_as_the_file_says(size: tuple[int, int]) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    bundle = open_detector_bundle()
    artifact = bundle.sized("tflite", "int8", size)
    interpreter = interpreters.Interpreter(model_content=bundle.read(artifact.file), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    picture = scenes(size, 1)
    interpreter.set_tensor(taken["index"], picture)
    interpreter.invoke()
    scale, zero = given["quantization"]
    raw = interpreter.get_tensor(given["index"]).astype(np.float64)
    np.testing.assert_allclose(
        open_artifact(bundle, artifact, "litert").engine.run(picture), (raw - zero) * scale, rtol=1e-6
    )


def test_a_detectors_file_in_a_classifiers_bundle_is_refused(name: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = open_detector_bundle()
    artifact = bundle.sized(engines.load(name).FORMAT, size=(120, 160))
    files = [(file.path, bundle.read(file)) for file in (artifact.file, *artifact.companions)]
    for path, data in files:
        (tmp_path / path).write_bytes(data)
    other = replace(tiny_bundle, path=tmp_path, artifacts=(replace(artifact, size=None),))
    with pytest.raises(EngineError, match=r"the model takes pictures \[120, 160, 1\], found \[48, 48, 1\]"):
        open_engine(other, name)


@pytest.fixture
def ort() -> Any:
    if not engines.is_installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    return engines.load("onnxruntime")


def test_the_provider_is_the_one_that_runs(ort: Any, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU in the list that does not start: the list is made up, the session is real."""
    has = ort.available_providers()
    assert "CPUExecutionProvider" in has
    assert "AzureExecutionProvider" not in has
    wanted = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    if set(wanted[:2]) & set(has):
        pytest.skip("this onnxruntime has a GPU")
    missing = open_engine(tiny_bundle, "onnxruntime", providers=wanted)
    assert missing.engine.provider == "CPUExecutionProvider"
    assert passed_over(missing, wanted) == "this onnxruntime has only CPUExecutionProvider"
    assert passed_over(missing, ["CPUExecutionProvider"]) is None
    assert passed_over(missing, []) is None
    monkeypatch.setattr(ort, "available_providers", lambda: wanted[1:])
    with pytest.warns(UserWarning, match="not in available provider names"):
        failed = open_engine(tiny_bundle, "onnxruntime", providers=wanted)
    assert failed.engine.provider == "CPUExecutionProvider"
    assert passed_over(failed, wanted[1:]) == (
        "this onnxruntime has it and could not start it; CPUExecutionProvider runs"
    )
    assert "only CUDAExecutionProvider, CPUExecutionProvider; CPUExecutionProvider runs" in str(
        passed_over(failed, wanted)
    )


def test_a_provider_that_cannot_start_gives_way_to_the_next(
    ort: Any, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    real, tried = onnxruntime.InferenceSession, []

    def session(model: bytes, options: Any, providers: list[str], **more: Any) -> Any:
        tried.append(providers)
        if providers[0] == "CUDAExecutionProvider":
            raise RuntimeError("libcudnn.so.9: cannot open shared object file")
        return real(model, options, providers=providers, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(ort, "available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    loaded = open_engine(tiny_bundle, "onnxruntime", providers=["CUDAExecutionProvider", "CUDAExecutionProvider"])
    assert tried == [["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]]
    assert loaded.engine.provider == "CPUExecutionProvider"
    assert capfd.readouterr().out == ""


def test_what_is_not_the_cpu_is_made_ready_for_whole_frames(
    ort: Any, faces: Pictures, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's provider stands in for a GPU's: what matters is what the session is given."""
    sizes = []
    call = ort.Engine._call

    def counted(self: Any, pictures: Pictures) -> engines.Probabilities:
        sizes.append(len(pictures))
        answer: engines.Probabilities = call(self, pictures)
        return answer

    import onnxruntime

    real = onnxruntime.InferenceSession

    def session(model: bytes, options: Any, providers: list[str], **more: Any) -> Any:
        return real(model, options, providers=providers[:1], **more)

    monkeypatch.setattr(ort.Engine, "_call", counted)
    monkeypatch.setattr(ort, "CPU", "OtherExecutionProvider")
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    loaded = open_engine(tiny_bundle, "onnxruntime", providers=["CPUExecutionProvider"])
    assert sizes == [ort.FRAME, 1]
    loaded.engine.run(faces)
    assert sizes[2:] == [len(faces)]


def test_a_preferred_provider_that_does_not_run_is_said(
    ort: Any, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    if ort.available_providers() != ["CPUExecutionProvider"]:
        pytest.skip("this onnxruntime has more than the CPU")
    open_preferred(tiny_bundle, load_profile("jetson-orin-nano"), "onnxruntime", "fp32", 1).engine.close()
    assert capsys.readouterr().err.strip() == (
        "note: TensorrtExecutionProvider is preferred on jetson-orin-nano, but this onnxruntime has only"
        " CPUExecutionProvider; see docs/devices.md"
    )
    open_preferred(tiny_bundle, load_profile("rpi5"), "onnxruntime", "fp32", 1).engine.close()
    assert capsys.readouterr().err == ""
