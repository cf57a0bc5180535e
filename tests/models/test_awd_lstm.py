"""The LSTM language model against torch's own layers, its dropouts, its sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from experiments import models
from experiments.models.awd_lstm import AWDLSTM, columns_of, detached, joined
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

NO_DROPOUT = dict.fromkeys(("dropout", "dropout_hidden", "dropout_input", "dropout_words", "weight_drop"), 0.0)


def network(**arguments) -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(**{"vocabulary": 11, "embedding": 6, "hidden": 9, "layers": 3, **NO_DROPOUT, **arguments}).double()


def tokens(length: int, columns: int = 4) -> torch.Tensor:
    return torch.randint(11, (length, columns), generator=torch.Generator().manual_seed(1))


def with_torchs_layers(model: AWDLSTM, inputs: torch.Tensor) -> torch.Tensor:
    """Logits of the same weights in nn.Embedding, nn.LSTM and a tied nn.Linear."""
    features = model.embedding(inputs)
    for layer in model.layers:
        theirs = nn.LSTM(layer.weight_ih.shape[1], layer.weight_hh.shape[1]).double()
        ours = (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)
        theirs.load_state_dict(dict(zip(theirs.state_dict(), ours, strict=True)))
        features, _ = theirs(features)
    return features @ model.embedding.weight.T + model.bias


def test_it_computes_what_torchs_layers_compute():
    model, inputs = network(), tokens(20)
    for mode in (model.train, model.eval):
        mode()
        torch.testing.assert_close(model(inputs, model.carry(4)).logits, with_torchs_layers(model, inputs))


@pytest.mark.parametrize("cuts", [[7], [1, 2, 19], list(range(1, 30))])
def test_one_long_sequence_equals_its_pieces_with_the_state_carried(cuts):
    model, inputs = network(), tokens(30)
    whole = model(inputs, model.carry(4))
    carry, pieces = model.carry(4), []
    for start, stop in zip([0, *cuts], [*cuts, 30], strict=True):
        output = model(inputs[start:stop], detached(carry))
        carry = output.carry
        pieces.append(output.logits)
    torch.testing.assert_close(torch.cat(pieces), whole.logits, rtol=1e-12, atol=1e-14)
    for one, other in zip(carry, whole.carry, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    forgotten = model(inputs[cuts[-1] :], model.carry(4)).logits
    assert not torch.allclose(forgotten, whole.logits[cuts[-1] :]), "the carry matters"


def test_columns_of_a_carry_are_independent():
    model, inputs = network(), tokens(8)
    carry = model(tokens(5), model.carry(4)).carry
    whole = model(inputs, carry)
    halves = [model(inputs[:, s], columns_of(carry, s.start, s.stop)) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(torch.cat([half.logits for half in halves], dim=1), whole.logits)
    torch.testing.assert_close(joined([half.carry for half in halves]), whole.carry)


def test_locked_dropout_keeps_one_mask_for_all_tokens_of_a_column():
    model, inputs = network(dropout=0.5), tokens(12)
    output = model(inputs, model.carry(4))
    ratio = output.dropped / output.raw
    assert set(ratio.unique().round(decimals=9).tolist()) == {0.0, 2.0}
    assert (ratio == ratio[:1]).all() and (ratio[0, 0] != ratio[0, 1]).any()


def test_whole_words_drop_out_of_the_embedding():
    model, inputs = network(dropout_words=0.5), tokens(40)
    dropped = model.drop()
    assert set(dropped.words.tolist()) == {0.0, 2.0} and dropped.words.shape == (11,)
    found = model(inputs, model.carry(4), dropped).logits
    weight = model.embedding.weight.detach().clone()
    with torch.no_grad():
        model.embedding.weight.mul_(dropped.words[:, None])
    features = model(inputs, model.carry(4)).dropped
    torch.testing.assert_close(found, F.linear(features, weight, model.bias))


def test_recurrent_weights_drop_out_and_none_without_a_choice():
    model, inputs = network(weight_drop=0.5), tokens(6)
    once, again = (model(inputs, model.carry(4), model.drop()).logits for _ in range(2))
    assert torch.equal(once[0], again[0]), "the first token comes before any recurrence"
    assert not torch.equal(once[1:], again[1:])
    choice = model.drop()
    assert all(set(factors.unique().tolist()) == {0.0, 2.0} for factors in choice.recurrent)
    found = model(inputs, model.carry(4), choice).raw
    with torch.no_grad():
        for layer, factors in zip(model.layers, choice.recurrent, strict=True):
            layer.weight_hh.mul_(factors)
    torch.testing.assert_close(model(inputs, model.carry(4)).raw, found)


def test_without_training_the_recurrence_all_other_gradients_are_the_same():
    gradients = []
    for train_recurrent in (True, False):
        model = network(train_recurrent=train_recurrent)
        model(tokens(9), model.carry(4)).logits.square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        if name.endswith("weight_hh"):
            assert gradient is not None and gradients[1][name] is None
        else:
            assert torch.equal(gradient, gradients[1][name])


@pytest.mark.parametrize(("layers", "parameters"), [(1, 5_293_200), (2, 13_632_400), (3, 24_221_600)])
def test_sizes_on_penn_treebank(layers, parameters):
    arguments = {"embedding": 400, "hidden": 1150, "layers": layers}
    with torch.device("meta"):
        model = models.build(ModelConfig("awd_lstm", arguments), DataConfig("ptb", vocabulary=10000))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_arguments_that_it_does_not_take_are_refused():
    with pytest.raises(UserError, match=r"model\.arguments=.*'width'.* do not suit awd_lstm"):
        models.build(ModelConfig("awd_lstm", {"width": 3}), DataConfig("ptb", vocabulary=10))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"layers": 0}, "layers=0: awd_lstm needs an integer of at least 1"),
        ({"hidden": 2.5}, "hidden=2.5: awd_lstm needs an integer"),
        ({"dropout": 1.0}, "dropout=1.0: awd_lstm needs a share from 0 on and below 1"),
        ({"weight_drop": -0.1}, "weight_drop=-0.1: awd_lstm needs a share"),
    ],
)
def test_sizes_and_shares_that_cannot_be_are_refused(argument, message):
    with pytest.raises(UserError, match=message):
        models.build(ModelConfig("awd_lstm", argument), DataConfig("ptb", vocabulary=10))
