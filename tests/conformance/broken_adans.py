"""Small Adans, each with one seeded bug, for the kit to find."""

import torch
from torch.optim import Optimizer


class PlainAdan(Optimizer):
    """A correct Adan (prox, no clipping, no restart) whose parts the broken ones replace."""

    def __init__(self, params, lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def coefficient(self, beta2):
        return beta2

    def first_previous(self, grad):
        return grad.clone()

    def count(self, group, state):
        return state["step"]

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1
            for param in group["params"]:
                if param.grad is not None:
                    self.update(group, param, param.grad)
        return loss

    def update(self, group, param, grad):
        state = self.state[param]
        if not state:
            state.update(step=0, previous=self.first_previous(grad))
            state.update({name: torch.zeros_like(param) for name in "mvn"})
        state["step"] += 1
        t, (b1, b2, b3) = self.count(group, state), group["betas"]
        difference, c = grad - state["previous"], self.coefficient(group["betas"][1])
        state["m"].mul_(b1).add_(grad, alpha=1 - b1)
        state["v"].mul_(b2).add_(difference, alpha=1 - b2)
        state["n"].mul_(b3).add_((grad + c * difference) ** 2, alpha=1 - b3)
        denominator = (state["n"] / (1 - b3**t)).sqrt() + group["eps"]
        direction = state["m"] / (1 - b1**t) + c * state["v"] / (1 - b2**t)
        param.sub_(group["lr"] * direction / denominator).div_(1 + group["lr"] * group["weight_decay"])
        state["previous"].copy_(grad)


class WrongNesterov(PlainAdan):
    def coefficient(self, beta2):
        return 1 - beta2


class ZeroStart(PlainAdan):
    def first_previous(self, grad):
        return torch.zeros_like(grad)


class GroupCount(PlainAdan):
    def count(self, group, state):
        return group["steps"]


class TwoBugs(WrongNesterov, ZeroStart):
    pass


class MissesTheTail(PlainAdan):
    """Leaves the last elements of large tensors as they are, like a kernel with too small a grid."""

    def update(self, group, param, grad):
        before = param.clone()
        super().update(group, param, grad)
        if param.numel() > 1000:
            param.view(-1)[-3:] = before.view(-1)[-3:]


class Unheard(PlainAdan):
    """A direction that no known departure explains."""

    def coefficient(self, beta2):
        return beta2**2


class ScalesGradients(PlainAdan):
    def update(self, group, param, grad):
        super().update(group, param, grad.mul_(0.25))


class NegatesGradients(PlainAdan):
    def update(self, group, param, grad):
        super().update(group, param, grad)
        grad.neg_()


class ForgetsState(PlainAdan):
    def state_dict(self):
        saved = super().state_dict()
        return {**saved, "state": {index: {**state, "step": 1} for index, state in saved["state"].items()}}


class CountsSkippedSteps(PlainAdan):
    """Says to GradScaler that it handles overflow itself, and forgets to."""

    _step_supports_amp_scaling = True

    def step(self, closure=None):
        scale = getattr(self, "grad_scale", None)
        if scale is not None:
            for group in self.param_groups:
                for param in group["params"]:
                    param.grad.nan_to_num_(0, 0, 0).div_(scale)
        return super().step(closure)


class IgnoresClosure(PlainAdan):
    def step(self, closure=None):
        super().step()


class CallsClosureTwice(PlainAdan):
    def step(self, closure=None):
        if closure is not None:
            closure()
        return super().step(closure)


class ClosureWithoutGrad(PlainAdan):
    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        super().step()
        return loss


class MovesUnused(PlainAdan):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                param.mul_(1 - 1e-3)
        return super().step(closure)


class RefusesEmptyGroups(PlainAdan):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["params"][0].device  # noqa: B018
        return super().step(closure)


class FlatMemory(PlainAdan):
    """Reads parameter and gradient as they lie in memory."""

    def update(self, group, param, grad):
        flat = torch.as_strided(grad, (grad.numel(),), (1,))
        laid = torch.as_strided(flat, param.shape, param.stride())
        super().update(group, param, laid.clone())


class RandomBits(PlainAdan):
    def update(self, group, param, grad):
        super().update(group, param, grad)
        param.mul_(1 + 1e-6 * torch.rand_like(param))


class FixedRate(PlainAdan):
    """Reads the learning rate once."""

    def update(self, group, param, grad):
        super().update({**group, "lr": self.defaults["lr"]}, param, grad)


class HiddenStep(PlainAdan):
    """Writes through `.data`, past autograd."""

    def update(self, group, param, grad):
        other = param.detach().clone()
        self.state[other] = self.state[param]
        super().update(group, other, grad)
        self.state[param] = self.state.pop(other)
        param.data.copy_(other)


class NeedsArgument(PlainAdan):
    def __init__(self, params, rank, **hyper):
        super().__init__(params, **hyper)


class WithoutRate(PlainAdan):
    """Correct, with a rate that nobody can set."""

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        del self.param_groups[-1]["lr"]

    def update(self, group, param, grad):
        super().update({**group, "lr": self.defaults["lr"]}, param, grad)


class RoundsStates(PlainAdan):
    """Keeps n in bf16, of fp32 parameters only."""

    def update(self, group, param, grad):
        super().update(group, param, grad)
        if param.dtype == torch.float32:
            n = self.state[param]["n"]
            n.copy_(n.bfloat16())
