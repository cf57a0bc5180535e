"""Whether the values of a configuration make sense together. Every check answers before torch is imported.

Each message names the value, where it came from and what would be valid.
"""

from __future__ import annotations

from dataclasses import fields
from typing import NoReturn

from experiments.schema import names, paths
from experiments.schema.batches import key_of_batch, largest_part, last_batch, micro_batch, pieces, unit
from experiments.schema.budget import EPOCHS, UPDATES, budget_of, stop_of
from experiments.schema.config import RunConfig, ScheduleConfig
from experiments.schema.epochs import of_run, samples_per_epoch, updates_per_epoch
from experiments.schema.errors import UserError, suggestion
from experiments.schema.experiment_file import read_experiment
from experiments.schema.legal_values import DATA, IN_PACKAGES, check_each, check_read
from experiments.schema.origin import origin
from experiments.schema.players import of_player
from experiments.schema.task_info import info
from experiments.schema.typed import show

# Keys of the schedule that only one unit of the budget has, and what stands for them in the other.
OF_UNIT = {
    EPOCHS: {
        "epochs": "updates",
        "warmup_epochs": "warmup_updates",
        "cooldown_epochs": "updates",
        "per_update": "name",
    },
    UPDATES: {"updates": "epochs", "warmup_updates": "warmup_epochs"},
}
PAIRS = "but mixup and cutmix mix pairs"


def check(config: RunConfig) -> None:
    """Raise UserError for the first value that cannot be (`legal_values`), or that does not fit the others."""
    _data(config)
    check_each(config)
    check_read(config)
    _names(config)
    _schedule(config)
    _players(config)
    info(config.task).check(config)
    _updates(config)
    _split(config)


def _data(config: RunConfig) -> None:
    """A task that reads text must be given one, and no other task may; a place is given to what reads it."""
    for key in ("root", "hub"):
        if getattr(config.data, key) and config.data.name in IN_PACKAGES:
            raise UserError(
                f"data.{key}={getattr(config.data, key)} ({origin(config, f'data.{key}')}): data={config.data.name}, "
                f"which scale={config.scale} reads, lies inside a package; did you mean data={_own_data(config)}?"
            )
    if config.data.root and config.data.hub:
        raise UserError(f"data.root={config.data.root} and data.hub={config.data.hub} (command line): give one of them")
    is_text, wanted = config.data.vocabulary > 0, info(config.task).data
    if wanted not in DATA and config.data.name != _own_data(config):
        raise UserError(
            f"data={config.data.name} ({origin(config, 'data')}): {config.exp} reads no data but {_own_data(config)}"
        )
    if is_text != (wanted == "text"):
        raise UserError(
            f"data={config.data.name} ({origin(config, 'data')}): {'a text' if is_text else 'no text'}, but "
            f"{config.exp} reads {wanted}; did you mean {_own_data(config)}?"
        )


def _own_data(config: RunConfig) -> str:
    """The data set of the experiment, at paper scale."""
    return read_experiment(config.exp, paths.CONFIGS)["data"]


def _names(config: RunConfig) -> None:
    """Names of things that are built from other values than a list of choices can hold."""
    base = config.optim.get("base")
    others = [name for name in names.choices("optim") if name != config.optim["name"]]
    if base is not None and base not in others:
        key = "optim.base"
        raise UserError(f"{key}={base} ({origin(config, key)}): no such other optimizer{suggestion(base, others)}")
    evaluated = sorted({metric.of or name for name, metric in config.metrics.items()})
    if config.optim.get("asgd_after") and config.optim["asgd_metric"] not in evaluated:
        key, value = "optim.asgd_metric", config.optim["asgd_metric"]
        raise UserError(f"{key}={value} ({origin(config, key)}): no evaluation has it{suggestion(value, evaluated)}")


def _schedule(config: RunConfig) -> None:
    schedule, unit = config.schedule, budget_of(vars(config)).unit
    for name, instead in OF_UNIT[UPDATES if unit == EPOCHS else EPOCHS].items():
        if getattr(schedule, name) != getattr(ScheduleConfig(), name):
            key, value = f"schedule.{name}", show(getattr(schedule, name))
            raise UserError(
                f"{key}={value} ({origin(config, key)}): {config.exp} counts {unit}; did you mean schedule.{instead}?"
            )
    length, warmup = budget_of(vars(schedule)), getattr(schedule, f"warmup_{unit}")
    if warmup > length.count:
        key = f"schedule.warmup_{unit}"
        raise UserError(f"{key}={warmup} ({origin(config, key)}): longer than all {length}")
    _phases(config)
    _momentum(config)
    before = 0
    for milestone in schedule.milestones:
        if not before < milestone < length.count:
            key = "schedule.milestones"
            raise UserError(
                f"{key}={schedule.milestones} ({origin(config, key)}): {milestone} must come after {before} and before "
                f"{unit.removesuffix('s')} {length.count}"
            )
        before = milestone


def _players(config: RunConfig) -> None:
    """A player has an `optim` and a `schedule` of its own, but no budget: all go by the one count of updates."""
    legal = {field.name for field in fields(ScheduleConfig)} - {"epochs", "updates", "cooldown_epochs"}
    for name, sections in config.players.items():
        place, known = f"players.{name}", info(config.task).players
        if name not in known:
            near = suggestion(name, known) if known else ", its whole module is one"
            key = next((text.partition("=")[0] for text in config.overrides if text.startswith(f"{place}.")), place)
            raise UserError(f"{place} ({origin(config, key)}): {config.exp} has no such player{near}")
        tree = sections if isinstance(sections, dict) else {str(sections): None}
        for section in tree:
            if section not in ("optim", "schedule") or not isinstance(tree[section], dict):
                near = suggestion(section, ("optim", "schedule"))
                raise UserError(
                    f"{place}={show(sections)} ({origin(config, place)}): has sections optim and schedule{near}"
                )
        for key in set(tree.get("schedule") or ()) - legal:
            whole = f"{place}.schedule.{key}"
            raise UserError(f"{whole} ({origin(config, whole)}): no setting of one player{suggestion(key, legal)}")
        own = of_player(config, name)
        if "lr" not in own.optim:
            raise UserError(f"{place}.optim.lr is missing: {own.optim['name']} is another optimizer than the run's")
        try:
            check_each(own)
            _schedule(own)
        except UserError as error:
            raise UserError(f"{place}: {error}") from error


def _phases(config: RunConfig) -> None:
    """Phases must fill the budget, with a rate at each of their ends; no other schedule has any."""
    schedule = config.schedule
    for key, shares in (("schedule.phases", schedule.phases), ("schedule.phase_rates", schedule.phase_rates)):
        shown = f"{key}={show(shares)} ({origin(config, key)})"
        if shares and schedule.name != "phases":
            raise UserError(f"{shown}: schedule.name={schedule.name} has no phases; did you mean schedule.name=phases?")
        if any(share < 0 for share in shares):
            raise UserError(f"{shown}: shares of the budget and of the peak rate must be at least 0")
    if schedule.name != "phases":
        return
    phases, points = schedule.phases, schedule.phase_rates
    key = "schedule.phases"
    if abs(sum(phases) - 1) > 1e-9 or not all(phases):
        raise UserError(f"{key}={phases} ({origin(config, key)}): shares of the budget must be above 0 and add up to 1")
    if len(points) != len(phases) + 1:
        key = "schedule.phase_rates"
        raise UserError(
            f"{key}={points} ({origin(config, key)}): {len(phases)} phases have {len(phases) + 1} ends, such as "
            "[0.1, 1.0, 0.1] of two"
        )


def _momentum(config: RunConfig) -> None:
    """A momentum that moves needs both its ends, the lower one first; on the command line also an optimizer that has
    one: a recipe's is for those that do."""
    ends = {f"schedule.{name}": getattr(config.schedule, name) for name in ("base_momentum", "max_momentum")}
    given = {key: value for key, value in ends.items() if value is not None}
    if not given:
        return
    (key, value), base, highest = next(iter(given.items())), *ends.values()
    shown = f"{key}={value} ({origin(config, key)})"
    if len(given) == 1:
        other = next(name for name in ends if name not in given)
        raise UserError(f"{shown}: moves between two values; give {other}, too")
    if base > highest or highest == 1:
        raise UserError(f"{shown}, schedule.max_momentum={highest}: it must not lie above that, which must be below 1")
    if origin(config, key) == "command line" and not {"momentum", "betas"} & config.optim.keys():
        raise UserError(f"{shown}: optim={config.optim['name']} has neither momentum nor betas; did you mean null?")


def _updates(config: RunConfig) -> None:
    """There must be an update in every epoch, and those asked about must exist."""
    if updates_per_epoch(config) < 1:
        samples, sample = samples_per_epoch(config), info(config.task).sample
        shown, near = key_of_batch(config, largest_part(samples, samples, unit(config)))
        raise UserError(
            f"{shown}: a batch of {config.global_batch_size} is larger than an epoch of {samples} training {sample} of "
            f"{config.data.name}; did you mean {near}?"
        )
    total, stop = of_run(config).total_updates, stop_of(config)
    if stop is not None and stop >= total:
        epochs = f"{config.total_epochs} epochs ({total} updates)"
        raise UserError(
            f"stop_at={config.stop_at} (command line): the run ends by itself after "
            f"{epochs if config.updates is None else f'{total} updates'}; choose an earlier point"
        )
    for update in config.launch.lr_at:
        if not 1 <= update <= total:
            raise UserError(f"launch.lr_at={config.launch.lr_at} (command line): updates of this run are 1 to {total}")


def _split(config: RunConfig) -> None:
    """Devices and micro-batches must divide the batch, and so must the batch that batch norm and mixup see.

    Where mixup or cutmix mix pairs, all of them must be even, as `experiments.data.sampler.deal` asks.
    """
    batch, devices, per_device = config.global_batch_size, config.launch.devices, config.batch_per_device
    whole = unit(config)
    if batch % whole:
        _refuse_odd_batch(config)
    if batch % (devices * whole):
        near = max(n for n in range(1, min(devices, batch // whole) + 1) if batch % (n * whole) == 0)
        why = "does not divide the global batch of" if batch % devices else f"gives each an odd share, {PAIRS}, of"
        raise UserError(
            f"launch.devices={devices} ({origin(config, 'launch.devices')}): {why} {batch}; did you mean {near}?"
        )
    where = origin(config, "batch_per_device")
    if batch % per_device and origin(config, "global_batch_size") == "command line" != where:
        shown, near = key_of_batch(config, round(batch / per_device) * per_device)
        raise UserError(
            f"{shown}: batch norm and mixup act on batch_per_device={per_device} ({where}), which does not divide it; "
            f"did you mean {near}?"
        )
    if batch % per_device or per_device % whole:
        why = f"does not divide the global batch of {batch}" if batch % per_device else f"odd, {PAIRS}"
        raise UserError(
            f"batch_per_device={per_device} ({where}): {why}; did you mean {largest_part(batch, per_device, whole)}?"
        )
    share, micro = batch // devices, micro_batch(config, devices)
    if share % micro or micro % whole:
        each = f"the {share} samples that each of {devices} device(s) computes of the batch of {batch}"
        why = f"does not divide {each}" if share % micro else f"odd, {PAIRS}"
        raise UserError(
            f"launch.micro_batch={micro} ({origin(config, 'launch.micro_batch')}): {why}; did you mean "
            f"{largest_part(share, min(micro, share), whole)}?"
        )
    _last_batch(config)


def _refuse_odd_batch(config: RunConfig) -> NoReturn:
    batch = config.global_batch_size
    shown, near = key_of_batch(config, batch + 1)
    raise UserError(f"{shown}: makes an odd global batch of {batch}, {PAIRS}; did you mean {near}?")


def _last_batch(config: RunConfig) -> None:
    """The smaller batch that `drop_last=false` leaves at the end of an epoch must be dealt in pairs too, and give every
    rank something to do."""
    rest, devices = last_batch(config), config.launch.devices
    if not rest:
        return
    fault = ""
    if unit(config) > 1 and rest % (2 * -(-rest // config.batch_per_device)):
        fault = f"which leaves a device an odd number of samples, {PAIRS}"
    elif rest // unit(config) < pieces(rest, micro_batch(config, devices), devices):
        fault = f"too few for launch.devices={devices}"
    if fault:
        near = "true" if samples_per_epoch(config) >= config.global_batch_size else "launch.devices=1"
        raise UserError(
            f"drop_last=false ({origin(config, 'drop_last')}): an epoch ends with a batch of {rest}, {fault}; did you "
            f"mean {near}?"
        )
