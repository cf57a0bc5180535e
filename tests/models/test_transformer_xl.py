"""Transformer-XL against its definition, in float64: shift, memory, masks, softmax; and its published sizes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from experiments.data.columns import NO_TARGET
from experiments.models import build
from experiments.models.adaptive_softmax import AdaptiveSoftmax
from experiments.models.relative_attention import (
    RelativeAttention,
    fused_attention,
    plain_attention,
    shifted,
    sinusoids,
)
from experiments.models.transformer_xl import Reading, TransformerXL
from experiments.schema.compose import compose
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

VOCABULARY, LAYERS, WIDTH = 23, 3, 8


@pytest.fixture
def model() -> TransformerXL:
    torch.manual_seed(0)
    sizes = {"layers": LAYERS, "d_model": WIDTH, "heads": 2, "d_head": 3, "d_inner": 12, "cutoffs": [7, 15]}
    return TransformerXL(VOCABULARY, **sizes, deviation=0.4).double().eval()


def words(*shape: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(1))


def in_pieces(model: TransformerXL, tokens: torch.Tensor, lengths: list[int], reading: Reading) -> torch.Tensor:
    """Negative log-likelihood of `tokens` [batch, time + 1] after the first, read piece by piece."""
    losses, memory, start = [], None, 0
    for length in lengths:
        piece = tokens[:, start : start + length + 1]
        loss, memory = model(piece[:, :-1], piece[:, 1:], memory, reading)
        losses.append(loss)
        start += length
    return torch.cat(losses, dim=1)


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 5), (4, 4), (3, 7), (6, 9)])
def test_the_shift_puts_the_score_of_each_distance_where_its_key_is(queries, keys):
    by_distance = torch.randn(2, 3, queries, keys, dtype=torch.float64)
    result = shifted(by_distance)
    for query in range(queries):
        for key in range(keys - queries + query + 1):
            distance = keys - queries + query - key
            assert torch.equal(result[..., query, key], by_distance[..., query, keys - 1 - distance])


def test_attention_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    heads, d_head, before, time = 2, 3, 4, 5
    module = RelativeAttention(WIDTH, heads, d_head, 0.0, 0.0).double()
    hidden = torch.randn(1, time, WIDTH, dtype=torch.float64)
    memory = torch.randn(1, before, WIDTH, dtype=torch.float64)
    u, v = torch.randn(2, heads, d_head, dtype=torch.float64)
    distances = sinusoids(torch.arange(before + time - 1, -1, -1).double(), WIDTH)
    unseen = torch.ones(time, before + time, dtype=torch.bool).triu(before + 1)
    result = module(hidden, memory, distances, u, v, unseen)

    context = torch.cat([memory, hidden], dim=1)[0]
    keys, values = module.key_value(context).chunk(2, dim=-1)
    for i in range(time):
        seen = torch.zeros(heads * d_head, dtype=torch.float64)
        for head in range(heads):
            part = slice(head * d_head, (head + 1) * d_head)
            query = module.query(hidden[0, i])[part]
            scores = []
            for j in range(before + i + 1):
                distance = torch.tensor([float(before + i - j)], dtype=torch.float64)
                at = module.distance(sinusoids(distance, WIDTH)[0])[part]
                scores.append(((query + u[head]) @ keys[j, part] + (query + v[head]) @ at) / math.sqrt(d_head))
            seen[part] = torch.stack(scores).softmax(0) @ values[: before + i + 1, part]
        torch.testing.assert_close(result[0, i], module.norm(hidden[0, i] + module.out(seen)))


def test_fused_and_plain_attention_agree_with_their_gradients():
    torch.manual_seed(0)
    shapes = [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5), (2, 3, 4, 6)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    results = [form(*inputs, drop=0.0) for form in (plain_attention, fused_attention)]
    torch.testing.assert_close(*results)
    gradients = [torch.autograd.grad(result.square().sum(), inputs) for result in results]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("lengths", [[12], [4, 4, 4], [1] * 12, [5, 1, 6], [11, 1]])
def test_pieces_with_memory_equal_one_long_sequence(model, lengths):
    tokens = words(2, 13)
    whole, _ = model(tokens[:, :-1], tokens[:, 1:], None, Reading(memory=0))
    torch.testing.assert_close(in_pieces(model, tokens, lengths, Reading(memory=12)), whole)


def test_memory_carries_no_gradient_and_keeps_the_last_states_alone(model):
    tokens = words(2, 9)
    _, memory = model(tokens[:, :5], tokens[:, 1:6], None, Reading(memory=3))
    assert memory.shape == (LAYERS, 2, 3, WIDTH) and not memory.requires_grad
    torch.testing.assert_close(memory[0], model.embedding(tokens[:, 2:5]) * math.sqrt(WIDTH))
    _, later = model(tokens[:, 5:6], tokens[:, 6:7], memory, Reading(memory=3))
    assert torch.equal(later[:, :, :2], memory[:, :, 1:])


def test_with_the_same_length_every_token_sees_just_as_many(model):
    """In one layer: what lies `memory` tokens back or farther changes nothing, what lies nearer does."""
    model.layers = model.layers[:1]
    reading, first = Reading(memory=4, same_length=True), words(1, 4)
    for distance, sees in ((4, False), (3, True)):
        for place in range(3):
            _, memory = model(first, first, None, reading)
            second = words(1, 3)
            before, _ = model.read(second, memory, reading)
            other = memory.clone()
            position = 4 + place - distance
            if position >= 4:
                continue
            other[:, :, position] += 1.0
            after, _ = model.read(second, other, reading)
            assert torch.equal(before[:, place], after[:, place]) is not sees


def test_distances_beyond_the_clamp_count_as_the_clamp(model):
    tokens = words(1, 10)
    far, near = (model.read(tokens, None, Reading(memory=0, clamp=clamp))[0] for clamp in (9, 2))
    assert torch.equal(far, model.read(tokens, None, Reading(memory=0))[0])
    torch.testing.assert_close(far[:, :3], near[:, :3])
    assert not torch.allclose(far[:, 9], near[:, 9])


def test_no_text_of_a_batch_sees_another_and_none_sees_what_comes(model):
    tokens = words(3, 12)
    other = tokens.clone()
    other[1] = (other[1] + 1) % VOCABULARY
    other[2, 8:] = (other[2, 8:] + 1) % VOCABULARY
    one, two = (in_pieces(model, each, [4, 4, 3], Reading(memory=4)) for each in (tokens, other))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[2, :7], two[2, :7])
    assert not torch.isclose(one[1], two[1]).any()


@pytest.mark.parametrize("cutoffs", [[], [5], [5, 9, 20], [22], [5, 9, 40]])
def test_the_adaptive_softmax_is_a_softmax_over_the_factorised_logits(cutoffs):
    torch.manual_seed(0)
    softmax = AdaptiveSoftmax(VOCABULARY, WIDTH, cutoffs).double()
    for parameter in softmax.parameters():
        torch.nn.init.normal_(parameter)
    weight = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(VOCABULARY + 1, WIDTH, dtype=torch.float64)
    logs = softmax.log_probabilities(hidden, weight)
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(len(hidden), dtype=torch.float64))

    ends = [*[cutoff for cutoff in cutoffs if cutoff < VOCABULARY], VOCABULARY]
    assert len(softmax.cluster_bias) == len(ends) - 1
    logits = hidden @ weight.T + softmax.bias
    first = torch.cat([logits[:, : ends[0]], hidden @ softmax.cluster_weight.T + softmax.cluster_bias], 1).log_softmax(
        1
    )
    parts = [first[:, : ends[0]]]
    for index, (begin, end) in enumerate(pairwise(ends)):
        parts.append(first[:, [ends[0] + index]] + logits[:, begin:end].log_softmax(1))
    torch.testing.assert_close(logs, torch.cat(parts, 1))

    targets = torch.tensor([*range(VOCABULARY), NO_TARGET])
    losses = softmax(hidden, targets, weight)
    torch.testing.assert_close(losses[:-1], -logs[torch.arange(VOCABULARY), targets[:-1]])
    assert losses[-1] == 0
    [direct] = torch.autograd.grad(losses.sum(), [weight], retain_graph=True)
    [full] = torch.autograd.grad(-logs[torch.arange(VOCABULARY), targets[:-1]].sum(), [weight])
    torch.testing.assert_close(direct, full)


@pytest.mark.parametrize(("data", "total"), [("wikitext103", 151_107_538), ("wikitext2", None)])
def test_the_base_model_has_the_published_number_of_parameters(data, total):
    (config,) = compose(["exp=transformer_xl", "scale=paper", f"data={data}"])
    with torch.device("meta"):
        module = build(config.model, config.data)
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in module.named_children()}
    assert counts["layers"] == 41_066_400
    words_of_data = config.data.vocabulary
    clusters = sum(cutoff < words_of_data for cutoff in (20_000, 40_000, 200_000))
    expected = 41_066_400 + words_of_data * 411 + clusters * 411 + 2 * 410
    assert sum(parameter.numel() for parameter in module.parameters()) == expected == (total or expected)


def test_initial_values_are_the_released_ones():
    torch.manual_seed(0)
    sizes = {"layers": 1, "d_model": 64, "heads": 4, "d_head": 16, "d_inner": 256, "cutoffs": [100]}
    module = build(ModelConfig("transformer_xl", sizes), DataConfig(vocabulary=1000))
    for name, parameter in module.named_parameters():
        if name.endswith("bias") and "key_bias" not in name and "distance_bias" not in name:
            assert not parameter.any(), name
        else:
            mean = 1.0 if "norm" in name else 0.0
            tolerance = 0.1 / math.sqrt(parameter.numel())
            assert parameter.mean().item() == pytest.approx(mean, abs=tolerance), name
            assert parameter.std().item() == pytest.approx(0.02, abs=tolerance), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "model.arguments.layers=0"),
        ({"d_model": 5}, "must be even"),
        ({"cutoffs": [9, 5]}, "growing numbers"),
        ({"width": 3}, "width"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    sizes = {"layers": 1, "d_model": 4, "heads": 1, "d_head": 4, "d_inner": 4}
    with pytest.raises(UserError, match=message):
        build(ModelConfig("transformer_xl", sizes | arguments), DataConfig(vocabulary=10))
