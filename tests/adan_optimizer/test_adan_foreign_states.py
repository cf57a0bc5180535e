"""States of other classes: translated where the next steps are theirs exactly, else refused with nothing changed."""

import copy
import io
import math
import pickle
import sys
import types

import pytest
import torch

from adan import Adan, export_state_dict

FP64 = torch.float64


def parameters(count=2):
    return [torch.nn.Parameter(torch.linspace(-1, 1, 5, dtype=FP64) + i) for i in range(count)]


def give_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator, dtype=FP64).to(param.dtype)


def run(params, optimizer, seeds):
    for seed in seeds:
        give_gradients(params, seed)
        optimizer.step()
    return [param.detach().clone() for param in params]


class PlainAdan(torch.optim.Optimizer):
    """The authors' rule, operation by operation: counts per group, and clips by the constructor's norm.

    `old_timm` names v and n as timm did from 0.8.2dev0 to 1.0.11, and keeps the previous gradient itself.
    """

    old_timm = False

    def __init__(self, params, lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0, no_prox=False, **more):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay} | more)
        for group in self.param_groups:
            group["no_prox"] = no_prox

    @torch.no_grad()
    def step(self):
        squares = sum(p.grad.square().sum().item() for g in self.param_groups for p in g["params"])
        limit = self.defaults.get("max_grad_norm", 0.0)
        clip = min(1.0, limit / (math.sqrt(squares) + self.defaults["eps"])) if limit > 0 else 1.0
        for group in self.param_groups:
            group["step"] = t = group.get("step", 0) + 1
            (b1, b2, b3), decay = group["betas"], group["lr"] * group["weight_decay"]
            for p in group["params"]:
                g, state = p.grad * clip, self.state[p]
                v_name, n_name = ("exp_avg_sq", "exp_avg_diff") if self.old_timm else ("exp_avg_diff", "exp_avg_sq")
                if not state:
                    state.update({k: torch.zeros_like(p) for k in ("exp_avg", "exp_avg_diff", "exp_avg_sq")})
                previous, sign = ("pre_grad", 1) if self.old_timm else ("neg_pre_grad", -1)
                if previous not in state or (t == 1 and not self.old_timm):
                    state[previous] = sign * g
                difference = g - sign * state[previous]
                state["exp_avg"] = m = b1 * state["exp_avg"] + (1 - b1) * g
                state[v_name] = v = b2 * state[v_name] + (1 - b2) * difference
                state[n_name] = n = b3 * state[n_name] + (1 - b3) * (g + b2 * difference) ** 2
                state[previous] = sign * g
                move = m / (1 - b1**t) + b2 * v / (1 - b2**t)
                move *= group["lr"] / ((n / (1 - b3**t)).sqrt() + group["eps"])
                p.copy_(p * (1 - decay) - move if group["no_prox"] else (p - move) / (1 + decay))


class OldTimmAdan(PlainAdan):
    old_timm = True


def assert_goes_on(theirs, params, tolerance=1e-12):
    """Ours, loaded from `theirs` after some steps, makes the same further steps, as if there had been no change."""
    run(params, theirs, range(3))
    ours_params = [torch.nn.Parameter(param.detach().clone()) for param in params]
    ours = Adan(ours_params, lr=7.0)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for one, two in zip(run(params, theirs, range(3, 7)), run(ours_params, ours, range(3, 7)), strict=True):
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)
    return ours


@pytest.mark.parametrize("no_prox", [False, True])
@pytest.mark.parametrize("cls, more", [(PlainAdan, {"max_grad_norm": 0.5}), (OldTimmAdan, {})])
def test_states_of_the_authors_and_of_old_timm_go_on(cls, more, no_prox):
    params = parameters()
    assert_goes_on(cls(params, lr=0.05, weight_decay=0.1, no_prox=no_prox, **more), params)


def test_old_timm_is_known_by_the_sign_of_v_where_a_group_has_a_clip_norm():
    params = parameters()
    assert_goes_on(OldTimmAdan(params, lr=0.05, max_grad_norm=0.0), params)


def test_old_timms_names_are_not_swapped_where_only_exp_avg_diff_is_negative():
    params = parameters()
    theirs = PlainAdan(params, lr=0.05)
    run(params, theirs, range(3))
    saved = theirs.state_dict()
    saved["state"] = {k: {**v, "pre_grad": -v["neg_pre_grad"]} for k, v in saved["state"].items()}
    for state in saved["state"].values():
        del state["neg_pre_grad"]
        assert (state["exp_avg_diff"] < 0).any()
    ours = Adan(parameters())
    ours.load_state_dict(saved)
    assert all((state["exp_avg_sq"] >= 0).all() for state in ours.state.values())


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("decouple", [False, True])
@pytest.mark.parametrize("norm, tolerance", [(0.0, 1e-12), (0.5, 1e-6)], ids=["no clip", "its norm is fp32"])
def test_a_state_of_pytorch_optimizer_goes_on(decouple, foreach, norm, tolerance):
    cls = pytest.importorskip("pytorch_optimizer").Adan
    params = parameters()
    options = {"weight_decay": 0.1, "weight_decouple": decouple, "max_grad_norm": norm, "foreach": foreach}
    ours = assert_goes_on(cls(params, lr=0.05, **options), params, tolerance)
    assert ours.param_groups[0]["no_prox"] is decouple and "weight_decouple" not in ours.param_groups[0]


def stepped(optimizer_of):
    params = parameters()
    optimizer = optimizer_of(params)
    run(params, optimizer, range(3))
    return optimizer.state_dict()


def edited(change):
    saved = copy.deepcopy(stepped(lambda params: Adan(params, lr=0.05)))
    change(saved["param_groups"], saved["state"])
    return saved


def authors_edited(change):
    saved = copy.deepcopy(stepped(lambda params: PlainAdan(params, lr=0.05, max_grad_norm=0.0)))
    change(saved["param_groups"], saved["state"])
    return saved


def of_pytorch_optimizer(name, **options):
    module = pytest.importorskip("pytorch_optimizer")
    return stepped(lambda params: getattr(module, name)(params, **options))


def of_timm(**options):
    cls = pytest.importorskip("timm.optim.adan").Adan
    return stepped(lambda params: cls(params, **options))


REFUSED = {
    "not a dictionary": (lambda: [1], "a state_dict is a dictionary"),
    "a whole checkpoint": (lambda: {"model": {}, "optimizer": {}}, "pass the optimizer's part"),
    "AdamW": (lambda: stepped(torch.optim.AdamW), "that of Adam or AdamW"),
    "SGD": (lambda: stepped(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)), "that of SGD"),
    "unstepped AdamW": (lambda: torch.optim.AdamW(parameters()).state_dict(), "that of Adam or AdamW"),
    "RMSprop": (lambda: stepped(torch.optim.RMSprop), "RMSprop"),
    "Adagrad": (lambda: stepped(torch.optim.Adagrad), "Adagrad"),
    "adanorm": (lambda: of_pytorch_optimizer("Adan", adanorm=True), "adanorm=True"),
    "timm's caution": (lambda: of_timm(caution=True), "caution=True"),
    "no betas": (lambda: edited(lambda g, s: g[0].pop("betas")), "options betas are missing"),
    "two betas": (lambda: edited(lambda g, s: g[0].update(betas=(0.9, 0.99))), "three numbers"),
    "groups": (lambda: edited(lambda g, s: g.append(copy.deepcopy(g[0]))), "2 parameter groups, this optimizer 1"),
    "fewer": (lambda: edited(lambda g, s: g[0]["params"].pop()), "1 parameters, this optimizer 2"),
    "one element": (lambda: edited(lambda g, s: s[1].update(exp_avg=torch.zeros(1))), r"shape \(1,\)"),
    "a row": (lambda: edited(lambda g, s: s[1].update(pre_grad=torch.zeros(1, 5))), r"shape \(1, 5\)"),
    "no count": (lambda: edited(lambda g, s: s[1].pop("step")), "lacks its count"),
    "no authors' count": (lambda: authors_edited(lambda g, s: g[0].pop("step")), "count"),
    "count": (lambda: edited(lambda g, s: s[1].update(step=-1.0)), "whole number"),
    "NaN count": (lambda: edited(lambda g, s: s[1].update(step=torch.tensor(math.nan))), "whole number"),
    "integers": (lambda: edited(lambda g, s: s[1].update(exp_avg=torch.zeros(5, dtype=torch.long))), "real numbers"),
    "complex": (lambda: edited(lambda g, s: s[1].update(exp_avg=torch.zeros(5) * 1j)), "real numbers"),
    "no moment": (lambda: edited(lambda g, s: s[1].pop("exp_avg_sq")), "exp_avg"),
    "no previous": (lambda: authors_edited(lambda g, s: s[1].pop("neg_pre_grad")), "lacks the previous gradient"),
    "negative": (lambda: edited(lambda g, s: s[1]["exp_avg_sq"].neg_()), "negative elements"),
    "more": (lambda: edited(lambda g, s: s.update({9: s[1]})), "entries for 9"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_state_changes_nothing(case):
    """After it, the optimizer steps bit by bit as one that never saw it."""
    make, message = REFUSED[case]
    saved = make()
    params, twins = parameters(), parameters()
    optimizer, twin = (Adan(these, lr=0.03, max_grad_norm=1.0) for these in (params, twins))
    run(params, optimizer, range(2))
    run(twins, twin, range(2))
    groups = copy.deepcopy(optimizer.state_dict()["param_groups"])
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)
    assert optimizer.state_dict()["param_groups"] == groups
    for one, two in zip(run(params, optimizer, range(5, 8)), run(twins, twin, range(5, 8)), strict=True):
        assert torch.equal(one, two)


def pickled_whole(state_dict_of, params):
    """The bytes of an optimizer object whose class is `adan.Adan` in a module of the authors' name."""
    module = types.ModuleType("adan")
    stand_in = type("Adan", (state_dict_of,), {"__module__": "adan", "__qualname__": "Adan"})
    module.Adan = stand_in
    theirs = stand_in(params, lr=0.05, weight_decay=0.1, max_grad_norm=0.5, foreach=True, fused=False)
    run(params, theirs, range(3))
    ours, file = sys.modules["adan"], io.BytesIO()
    sys.modules["adan"] = module
    try:
        torch.save((params, theirs), file)
    finally:
        sys.modules["adan"] = ours
    return theirs, file


def test_a_pickled_optimizer_of_the_authors_goes_on():
    params = parameters()
    theirs, file = pickled_whole(PlainAdan, params)
    file.seek(0)
    others, ours = torch.load(file, weights_only=False)
    assert type(ours) is Adan
    for one, two in zip(run(params, theirs, range(3, 7)), run(others, ours, range(3, 7)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    ours.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    ours.step()


def test_a_pickled_optimizer_that_cannot_be_turned_into_ours_says_so():
    class Cautious(PlainAdan):
        def step(self):
            super().step()
            self.param_groups[0]["caution"] = True

    _, file = pickled_whole(Cautious, parameters())
    file.seek(0)
    with pytest.raises(ValueError, match=r"pickled Adan is not of this package.*caution"):
        torch.load(file, weights_only=False)


@pytest.mark.parametrize("no_prox", [False, True])
def test_an_export_goes_on_by_the_authors_rule(no_prox):
    params = parameters()
    ours = Adan(params, lr=0.05, weight_decay=0.1, max_grad_norm=0.5, no_prox=no_prox)
    run(params, ours, range(4))
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    theirs = PlainAdan(others, max_grad_norm=0.5)
    theirs.load_state_dict(export_state_dict(ours, form="sail-sg"))
    for one, two in zip(run(params, ours, range(4, 8)), run(others, theirs, range(4, 8)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_an_export_goes_on_in_timm(dtype, tolerance):
    cls = pytest.importorskip("timm.optim.adan").Adan
    params = [torch.nn.Parameter(param.detach().to(dtype)) for param in parameters()]
    ours = Adan(params, lr=0.05, weight_decay=0.1)
    run(params, ours, range(4))
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    theirs = cls(others, lr=9.0)
    theirs.load_state_dict(export_state_dict(ours, form="timm"))
    for one, two in zip(run(params, ours, range(4, 6)), run(others, theirs, range(4, 6)), strict=True):
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("form", ["sail-sg", "timm"])
def test_an_export_comes_back_with_the_same_bits(form):
    params, twins = parameters(), parameters()
    ours, other = Adan(params, lr=0.05, weight_decay=0.1), Adan(twins)
    run(params, ours, range(4))
    for twin, param in zip(twins, params, strict=True):
        twin.data.copy_(param)
    other.load_state_dict(export_state_dict(ours, form))
    for one, two in zip(run(params, ours, range(4, 8)), run(twins, other, range(4, 8)), strict=True):
        assert torch.equal(one, two)


def test_what_cannot_be_exported_exactly_is_refused():
    params = parameters()
    ours = Adan(params, lr=0.05)
    give_gradients(params[:1], 0)
    ours.step()
    with pytest.raises(ValueError, match=r"counts steps per group.*\[0, 1\]"):
        export_state_dict(ours, "sail-sg")
    params[1].requires_grad_(False)
    assert export_state_dict(ours, "timm")["param_groups"][0]["step"] == 1
    ours.param_groups[0]["max_grad_norm"] = 1.0
    with pytest.raises(ValueError, match="does not clip"):
        export_state_dict(ours, "timm")
    ours.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "max_grad_norm": 0.0})
    with pytest.raises(ValueError, match="one max_grad_norm"):
        export_state_dict(ours, "sail-sg")
    half = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    half.grad = torch.ones_like(half)
    optimizer = Adan([half])
    optimizer.step()
    with pytest.raises(ValueError, match="bfloat16"):
        export_state_dict(optimizer, "timm")
    with pytest.raises(ValueError, match="form must be"):
        export_state_dict(optimizer, "torch")


def test_pickles_of_ours_keep_their_bits():
    params = parameters()
    ours = Adan(params, lr=0.05)
    run(params, ours, range(3))
    others, other = pickle.loads(pickle.dumps((params, ours)))
    for one, two in zip(run(params, ours, range(3, 6)), run(others, other, range(3, 6)), strict=True):
        assert torch.equal(one, two)
