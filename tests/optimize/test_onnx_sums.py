"""int8 sums in ONNX: x86's way of adding and Arm's give the same, with scales that hardly differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgefer.optimize.exporters import _onnx_sums

Steps = npt.NDArray[np.int64]

DISAGREEING = (0.01915779523551464, 0.06327438354492188, 0.024443279951810837)
"""Scales of an exported model (two inputs, their sum) with which a Raspberry Pi 4 gave another sum than a Xeon."""


def on_x86(zeros: tuple[int, int], scales: tuple[float, ...]) -> Steps:
    """All sums of two uint8 numbers as QLinearAdd rounds them on x86, before the output's zero point is added."""
    first, second, total = (np.float32(scale) for scale in scales)
    a = (np.arange(256) - zeros[0]).astype(np.float32)[:, None]
    b = (np.arange(256) - zeros[1]).astype(np.float32)[None]
    return np.rint((a * first + b * second) / total).astype(np.int64)


def on_arm(zeros: tuple[int, int], scales: tuple[float, ...]) -> Steps:
    """The same on Arm: whole numbers, multiplied by 22 bits and shifted; halves go away from zero."""
    first, second, total = (np.float32(scale) for scale in scales)
    ratios = np.array([first / total, second / total])
    shift = 21 - int(np.floor(np.log2(ratios.max())))
    multipliers = np.rint(ratios.astype(np.float64) * 2.0**shift).astype(np.int64)
    a, b = (np.arange(256) - zeros[0])[:, None], (np.arange(256) - zeros[1])[None]
    exact = a * multipliers[0] + b * multipliers[1]
    return (exact - (exact < 0) + (1 << (shift - 1))) >> shift


def test_x86_and_arm_disagree_with_scales_as_they_are_found() -> None:
    assert (on_x86((0, 130), DISAGREEING) != on_arm((0, 130), DISAGREEING)).any()


@pytest.mark.parametrize("seed", range(40))
def test_x86_and_arm_agree_with_the_scales_that_are_taken(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second, total = np.exp(random.uniform(-1.5, 1.5, 3)) * 0.03 if seed else DISAGREEING
    zeros = (int(random.integers(256)), int(random.integers(256))) if seed else (0, 130)
    taken = _onnx_sums.apart(float(np.float32(first)), float(np.float32(second)), float(np.float32(total)))
    assert taken is not None
    np.testing.assert_allclose(taken, (first, second), rtol=_onnx_sums.MOST_CHANGE)
    scales = (*taken, total)
    np.testing.assert_array_equal(on_x86(zeros, scales), on_arm(zeros, scales))


def test_the_usual_change_is_tiny() -> None:
    assert _onnx_sums.apart(*DISAGREEING) == pytest.approx(DISAGREEING[:2], rel=5e-5)


@pytest.mark.parametrize("scales", [(1.0, 1e-6, 1.0), (200.0, 1.3, 1.0), (1e6, 1.0, 1.0)])
def test_scales_stay_where_no_near_ones_will_do(scales: tuple[float, float, float]) -> None:
    assert _onnx_sums.apart(*scales) is None


def graph(reader: str = "Conv", shared: bool = False) -> Any:
    """conv → [a] → conv → [b], a + b → relu → [c]; `reader` reads [a], too; weights may share the scale of [a]."""
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, constants = np.random.default_rng(1), [], {"zero": np.uint8(0)}

    def round_and_back(name: str, scale: float) -> None:
        constants[f"{name}_scale"] = np.float32(scale)
        how = [f"{name}_scale", "zero"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *how], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *how], [f"{name}_dq"]))

    def layer(source: str, name: str, scale: float) -> None:
        for part, values in (("w", rng.integers(-127, 127, (2, 2, 1, 1), np.int8)), ("bias", np.int32([5000, -300]))):
            constants[f"{name}_{part}_q"] = values
            constants[f"{name}_{part}_scale"] = np.float32(0.004 if part == "w" else 0.004 * scale)
            how = [f"{name}_{part}_q", "a_scale" if shared and part == "w" else f"{name}_{part}_scale"]
            nodes.append(helper.make_node("DequantizeLinear", how, [f"{name}_{part}"]))
        nodes.append(helper.make_node("Conv", [source, f"{name}_w", f"{name}_bias"], [name]))

    layer("x", "a", 1.0)
    round_and_back("a", DISAGREEING[0])
    layer("a_dq", "b", DISAGREEING[0])
    round_and_back("b", DISAGREEING[1])
    nodes.append(helper.make_node("Add", ["a_dq", "b_dq"], ["sum"]))
    nodes.append(helper.make_node("Relu", ["sum"], ["c"]))
    round_and_back("c", DISAGREEING[2])
    if reader != "Conv":
        nodes.append(helper.make_node(reader, ["a_dq"], ["other"], kernel_shape=[1, 1]))
    shape = ["n", 2, 4, 4]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "c_dq")]
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_graph(nodes, "g", ends[:1], ends[1:], made)
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scales_of(model: Any) -> dict[str, float]:
    """Return the scale of each (de)quantisation, by what it gives."""
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rounds = [node for node in model.graph.node if node.op_type.endswith("tizeLinear")]
    return {node.output[0]: float(constants[node.input[1]]) for node in rounds}


def test_scales_are_changed_wherever_the_same_numbers_are_read() -> None:
    onnx = pytest.importorskip("onnx")
    model = graph()
    before = scales_of(model)
    _onnx_sums.settle(model)
    onnx.checker.check_model(model, full_check=True)
    after = scales_of(model)
    taken = _onnx_sums.apart(before["a_q"], before["b_q"], before["c_q"])
    assert taken is not None
    a, b = np.float32(taken)
    assert (after["a_q"], after["a_dq"], after["b_q"], after["b_dq"]) == (a, a, b, b)
    changed = ("a_q", "a_dq", "b_q", "b_dq", "b_bias")
    assert {name for name in before if after[name] != before[name]} == set(changed)
    # A bias counts in products of what its layer reads and its weights.
    assert after["b_bias"] == pytest.approx(after["b_w"] * after["a_dq"], rel=1e-6)


def test_a_scale_that_others_share_stays_theirs() -> None:
    pytest.importorskip("onnx")
    model = graph(shared=True)
    _onnx_sums.settle(model)
    after = scales_of(model)
    assert after["a_w"] == after["b_w"] == np.float32(DISAGREEING[0])
    assert after["a_q"] == after["a_dq"] != after["a_w"]


def test_a_sum_stays_as_it_is_when_its_inputs_must_keep_their_scale() -> None:
    """A maximum is taken of whole numbers only when the scales before and after it are one."""
    pytest.importorskip("onnx")
    model = graph(reader="MaxPool")
    before = model.SerializeToString()
    _onnx_sums.settle(model)
    assert model.SerializeToString() == before
