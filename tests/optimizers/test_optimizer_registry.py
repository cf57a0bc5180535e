"""Names, facts, hyper-parameter keys, plug-ins, and what the record is told."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adan.kernels import compilation
from experiments import optimizers
from experiments.optimizers import OptimizerInfo, registry
from experiments.schema.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs" / "optim"
TABLE_NAMES = ["adabelief", "adabound", "adam", "adamw", "adan", "lamb", "nadam", "padam", "radam", "sam", "sgd"]
BUILT_IN = [
    *TABLE_NAMES,
    *("adadelta", "adafactor", "adagrad", "adamod", "amsgrad", "lars", "lion", "muon", "nadamw", "rmsprop", "yogi"),
    *("amsgradw", "fromage", "msvag", "msvag_adabelief"),
]


def model():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))


def backward(module):
    module(torch.randn(5, 3, dtype=next(module.parameters()).dtype)).square().sum().backward()


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry, "OPTIMIZERS", dict(registry.OPTIMIZERS))


def test_names_and_facts_need_no_torch():
    code = (
        "import sys; from experiments import optimizers as o; [o.info(name).floats({}, (4, 3)) for name in o.names()];"
        "from experiments.optimizers.schedules import rate; print(*o.names()); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CONFIGS.parents[1])
    assert done.returncode == 0, done.stderr
    assert set(BUILT_IN) <= set(done.stdout.split())


def test_every_file_of_an_optimizer_has_its_entry_in_the_catalogue():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(BUILT_IN)
    for name in BUILT_IN:
        assert optimizers.info(name).name == name


class Convolutional(torch.nn.Sequential):
    """A kernel of a convolution, norms, hidden matrices and a head: all that states may depend on."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = torch.nn.Conv2d(1, 4, kernel_size=(2, 3)), torch.nn.BatchNorm2d(4)
        self.hidden, self.head = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)

    def forward(self, images):
        return self.head(self.hidden(self.norm(self.stem(images)).mean((2, 3))))


@pytest.mark.parametrize(
    "optim",
    [
        *({"name": name} for name in BUILT_IN),
        {"name": "sgd", "nesterov": False, "momentum": 0.0},
        {"name": "lars", "momentum": 0.0},
        {"name": "rmsprop", "momentum": 0.9},
        {"name": "rmsprop", "momentum": 0.9, "centered": True},
        {"name": "adabound", "amsbound": True},
        {"name": "amsgrad", "bias_correction": False},
        {"name": "muon", "adamw_names": "nothing"},
        {"name": "sam", "base": "adan"},
        {"name": "sam", "base": "adafactor"},
        {"name": "sam", "base": "muon"},
    ],
    ids=lambda optim: " ".join(f"{value}" if key == "name" else f"{key}={value}" for key, value in optim.items()),
)
def test_states_are_as_many_floats_as_the_registry_counts(optim):
    module = Convolutional()
    optimizer = optimizers.build(optim, module)

    def backward():
        module(torch.randn(5, 1, 6, 6)).square().sum().backward()

    backward()
    optimizer.step(backward)
    info = optimizers.info(optim["name"])
    settings = {key: value for key, value in optim.items() if key != "name"}
    for name, parameter in module.named_parameters():
        kept = [value for value in optimizer.state[parameter].values() if isinstance(value, torch.Tensor)]
        floats = sum(value.numel() for value in kept if value.ndim > 0)
        weights_kept_between_passes = parameter.numel() if info.name == "sam" else 0
        assert floats + weights_kept_between_passes == info.floats(settings, tuple(parameter.shape), name), name


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_states_that_are_printed_are_those_of_a_matrix(name):
    info = optimizers.info(name)
    assert info.states == info.states_with({}) == info.floats({}, (1024, 1024)) / 1024**2


def test_states_follow_the_hyper_parameters():
    assert optimizers.info("sgd").states_with({"momentum": 0.0}) == 0
    assert optimizers.info("sam").states_with({"base": "adan"}) == 5
    assert optimizers.info("sam").states_with({"base_settings": {"momentum": 0.0}}) == 1
    assert optimizers.info("adabound").states_with({"amsbound": True}) == 3


@pytest.mark.parametrize("name", BUILT_IN)
def test_training_lowers_the_loss_and_resumes_bitwise(name):
    def trained(steps, module, optimizer):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = module.loss()
            loss.backward()
            optimizer.step(lambda: module.loss().backward())
        return module.loss().item()

    class Regression(torch.nn.Linear):
        def loss(self):
            return (self(torch.eye(4)) - torch.arange(8.0).reshape(4, 2) / 8).square().sum()

    def fresh(seed):
        torch.manual_seed(seed)
        module = Regression(4, 2)
        return module, optimizers.build({"name": name, "lr": 0.05, "weight_decay": 1e-3}, module)

    module, optimizer = fresh(seed=0)
    before = module.loss().item()
    trained(5, module, optimizer)
    other, twin = fresh(seed=1)
    other.load_state_dict(module.state_dict())
    twin.load_state_dict(pickled(optimizer.state_dict()))
    after = trained(15, module, optimizer)
    assert after < before
    assert trained(15, other, twin) == after
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def pickled(state_dict):
    import io

    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_record_learns_what_ran():
    adan = optimizers.build({"name": "adan"}, model())
    facts = optimizers.describe(adan)
    assert facts["name"] == "adan" and facts["class"] == "adan.optimizer.Adan"
    assert facts["implementation"] == adan.implementation
    if adan.implementation == "fused-cpp":
        kernel = Path(compilation.library()._name)
        assert facts["kernel"] == hashlib.sha256(kernel.read_bytes()).hexdigest()
    facts = optimizers.describe(optimizers.build({"name": "sam", "base": "adamw"}, model()))
    assert facts["base"]["class"] == "torch.optim.adamw.AdamW"
    assert facts["base"]["version"] == torch.__version__.partition("+")[0]
    facts = optimizers.describe(optimizers.build({"name": "sam", "base": "amsgrad"}, model()))
    assert facts["base"]["name"] == "amsgrad"
    facts = optimizers.describe(optimizers.build({"name": "muon"}, model()))
    assert [part["class"].rpartition(".")[2] for part in facts["parts"]] == ["Muon", "AdamW"]
    assert facts["implementation"] == "Muon: single-tensor, AdamW: single-tensor"
    assert optimizers.describe(torch.optim.Adam(model().parameters(), foreach=True))["implementation"] == "foreach"


@pytest.mark.parametrize(
    "optim, message",
    [
        ({"name": "addan"}, r"optim=addan: unknown optimizer; did you mean 'adan'\?"),
        ({"name": "adan", "bets": [0.9, 0.9, 0.9]}, r"optim\.bets: adan has no .*did you mean 'betas'\?"),
        ({"name": "adan", "betas": [0.9, 0.9]}, r"optim\.betas=\[0\.9, 0\.9\]: must be 3 numbers"),
        ({"name": "adan", "lr": "fast"}, r"optim\.lr='fast': must be a number"),
        ({"name": "adan", "no_prox": 1}, r"optim\.no_prox=1: must be true or false"),
        ({"name": "adan", "lr": -1.0}, r"optim\.lr=-1\.0: must be at least 0 and finite"),
        ({"name": "yogi", "lr": -1.0}, r"optim\.lr=-1\.0: must be at least 0"),  # its library raises no ValueError
        ({"name": "lion", "lr": float("nan")}, r"optim\.lr=nan: must be at least 0"),
        ({"name": "lion", "weight_decay": -0.1}, r"optim\.weight_decay=-0\.1: must be at least 0"),
        ({"name": "lamb", "betas": [0.9, 1.0]}, r"optim\.betas=\[0\.9, 1\.0\]: every one must be .* below 1"),
        ({"name": "lars", "momentum": float("nan")}, r"optim\.momentum=nan: must be a number"),
        ({"name": "adan", "state_dtype": "bf16"}, r"optim\.state_dtype=bf16: no such type .*'bfloat16'"),
        ({"name": "sam", "base_settings": {"lr": -1}}, r"optim\.base_settings\.lr=-1: must be at least 0"),
        ({"name": "sgd", "momentum": 0.0}, r"optim=sgd refuses .*Nesterov"),
        ({"name": "padam", "partial": 0.75}, r"optim=padam refuses .*partial must lie"),
        ({"name": "msvag", "beta": 1.0}, r"optim=msvag refuses .*beta must lie in"),
        ({"name": "muon", "adjust_lr": "orginal"}, r"optim=muon refuses .*orginal"),
        ({"name": "muon", "adamw_lr_ratio": -1.0}, r"optim=muon refuses .*adamw_lr_ratio must"),
        ({"name": "adafactor", "clip_threshold": 0.5}, r"optim=adafactor refuses .*threshold"),
        ({"name": "adabound", "gamma": -1.0}, r"optim=adabound refuses .*gamma"),
    ],
)
def test_mistakes_are_user_errors_that_name_value_and_choice(optim, message):
    with pytest.raises(UserError, match=message):
        optimizers.build(optim, model())


class SignSGD(torch.optim.Optimizer):
    def __init__(self, params, lr, weight_decay):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * (p.grad.sign() + group["weight_decay"] * p))


SIGNSGD = OptimizerInfo(
    name="signsgd",
    library="my_package",
    states=0,
    paper="arXiv 1802.04434",
    defaults={"lr": 1e-3, "weight_decay": 0.0},
    build=lambda groups, **settings: SignSGD(groups, **settings),
)


def assert_signsgd_works():
    module = model()
    optimizer = optimizers.build({"name": "signsgd", "lr": 0.5, "decay_bias_and_norm": True}, module)
    before = module[0].weight.detach().clone()
    backward(module)
    optimizer.step()
    torch.testing.assert_close((module[0].weight - before).abs(), torch.full((4, 3), 0.5))
    assert optimizers.describe(optimizer)["name"] == "signsgd"


def test_a_registered_optimizer_is_built_by_name(clean_registry):
    optimizers.register(SIGNSGD)
    optimizers.register(SIGNSGD)  # a module imported twice
    assert "signsgd" in optimizers.names()
    assert_signsgd_works()


def test_a_name_cannot_be_taken_twice(clean_registry):
    with pytest.raises(UserError, match="registered already"):
        optimizers.register(OptimizerInfo("adan", "x", 0, "", {}, SignSGD))
