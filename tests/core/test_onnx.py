"""The ONNX reference cases of the operator Attention, an oracle from outside.

Every node case of the installed `onnx` is either computed by `attend` and compared, or listed in `EXCLUDED` with the
reason. Cases whose causal or window alignment is not ours (last query with last key) are translated to a dense mask.
"""

import numpy as np
import onnx
import pytest
import torch
from onnx.backend.test.case.node import collect_testcases

import core
from core import biases, masks

SOFTCAP = "caps the scores with tanh, which is not in the contract"


def attributes_of(case):
    return {a.name: onnx.helper.get_attribute_value(a) for a in case.model.graph.node[0].attribute}


def collect():
    with np.errstate(all="ignore"):
        cases = [c for c in collect_testcases("Attention") if "_expanded" not in c.name]
    return {c.name: c for c in cases}


CASES = collect()
EXCLUDED = {name: SOFTCAP for name, case in CASES.items() if attributes_of(case).get("softcap")}


def to_torch(array):
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.ascontiguousarray(array))


def split_heads(x, heads):
    return x if x.ndim == 4 else x.unflatten(-1, (heads, -1)).transpose(1, 2)


def aligned(offset, Lq, Lk):
    """Whether ONNX's offset of the first query is ours."""
    return offset.ndim == 0 and int(offset) == Lk - Lq


def structure(given, attributes, Lq, Lk, past):
    """Translate ONNX's mask, causality, window and lengths into a mask and a bias of ours."""
    mask = bias = None

    def conjoin(new):
        return new if mask is None else mask & new

    tensor, lengths = given.get("attn_mask"), given.get("nonpad_kv_seqlen")
    if tensor is not None:
        fill = False if tensor.dtype == torch.bool else -torch.inf
        tensor = torch.nn.functional.pad(tensor, (0, Lk - tensor.shape[-1]), value=fill)
        tensor = tensor[(None,) * (4 - tensor.ndim)]
        if tensor.dtype == torch.bool:
            mask = conjoin(masks.Dense(tensor))
        else:
            bias = biases.Dense(tensor)
    offset = torch.tensor(past) if lengths is None or past else lengths - Lq
    i = (torch.arange(Lq) + offset.reshape(-1, 1))[:, None, :, None]
    j = torch.arange(Lk)
    if attributes.get("is_causal"):
        mask = conjoin(masks.Causal() if aligned(offset, Lq, Lk) else masks.Dense(j <= i))
    left, right = attributes.get("left_window_size", -1), attributes.get("right_window_size", -1)
    if left >= 0 or right >= 0:
        left, right = (bound if bound >= 0 else Lq + Lk for bound in (left, right))
        window = masks.Dense((j >= i - left) & (j <= i + right))
        mask = conjoin(masks.Window(left, right) if aligned(offset, Lq, Lk) else window)
    if lengths is not None:
        mask = conjoin(masks.Padding(lengths))
    return mask, bias


@pytest.mark.parametrize("name", sorted(set(CASES) - set(EXCLUDED)))
def test_case(name):
    case = CASES[name]
    node = case.model.graph.node[0]
    attributes = attributes_of(case)
    known = {"scale", "is_causal", "q_num_heads", "kv_num_heads", "softmax_precision", "qk_matmul_output_mode"}
    known |= {"left_window_size", "right_window_size"}
    assert set(attributes) <= known, "an attribute that this test does not translate"
    inputs, outputs = case.data_sets[0]
    given = dict(zip([n for n in node.input if n], map(to_torch, inputs), strict=True))
    wanted = dict(zip([n for n in node.output if n], outputs, strict=True))
    roles = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
    given = {role: given[n] for role, n in zip(roles, node.input, strict=False) if n}

    q = split_heads(given["Q"], attributes.get("q_num_heads"))
    k = split_heads(given["K"], attributes.get("kv_num_heads"))
    v = split_heads(given["V"], attributes.get("kv_num_heads"))
    past = 0
    if "past_key" in given:
        past = given["past_key"].shape[2]
        k, v = torch.cat([given["past_key"], k], 2), torch.cat([given["past_value"], v], 2)
    mask, bias = structure(given, attributes, q.shape[2], k.shape[2], past)
    scale = attributes.get("scale")
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[q.dtype]
    # Mode 3 answers the weights; the other modes answer scores from before the softmax, and only their Y is compared.
    answers_weights = len(node.output) > 3 and node.output[3] and attributes.get("qk_matmul_output_mode") == 3
    reference = core.attend(q, k, v, mask=mask, bias=bias, scale=scale, need=("weights",))
    for out in (reference.out, core.attend(q, k, v, mask=mask, bias=bias, scale=scale, backend="fused")):
        expected = to_torch(wanted[node.output[0]])
        got = out if given["Q"].ndim == 4 else out.transpose(1, 2).flatten(2)
        torch.testing.assert_close(got, expected.nan_to_num(0.0), rtol=tolerance, atol=tolerance)
    if answers_weights:
        torch.testing.assert_close(
            reference.weights, to_torch(wanted[node.output[3]]).nan_to_num(0.0), rtol=tolerance, atol=tolerance
        )


def test_what_is_left_out():
    """Only the capped cases are left out."""
    assert 0 < len(EXCLUDED) <= len(CASES) // 6
