"""The one loop of every experiment. The update index is its only clock.

Learning rate, data order, random streams and evaluation points are functions of (seed, update), so a run that
was killed and resumed performs the same updates, and writes the same events, as one that was left alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from experiments.schema.budget import budget_of, stop_update
from experiments.schema.digest import config_digest
from experiments.schema.epochs import of_run
from experiments.schema.errors import UserError
from experiments.schema.players import ONLY, of_each
from experiments.training import capture, checkpoint, memory, parallel
from experiments.training.batched_seeds import Member, refuse_other_members
from experiments.training.captured_step import CapturedStep
from experiments.training.divergence import NonFiniteLoss
from experiments.training.evaluation import evaluate
from experiments.training.holding import held
from experiments.training.interruption import Interruption
from experiments.training.journal import Journals
from experiments.training.players import described, players_of, whose_turn
from experiments.training.precision import prepare
from experiments.training.progress import RunProgress, metrics_line, title_of
from experiments.training.replays import Replays
from experiments.training.sealing import Sealer
from experiments.training.state import copy_of_state, load_state, put_back, require_fit, state_of
from experiments.training.step import Step, Stepped, Unread, read
from experiments.training.task import EachRun, Part, Task
from experiments.verdict.curves import on_track

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


READS_APART = 100  # updates, of a run on a GPU: the host never waits in between
SECONDS_BETWEEN_READS = 2.0  # of long updates, so that the progress bar moves; ranks know no common clock


@dataclass
class Outcome:
    """The end of a call of `train`: `finished`, `partial` (at `stop_at`), `diverged` (some runs of the batch, and the
    others did what was asked) or `interrupted` (by SIGTERM, run it again), and on rank 0 the sealed record where there
    is one."""

    status: str
    record: Path | None = None


def train(members: Sequence[Member], task: Task, part: Part) -> Outcome:
    """Train `task` from its newest good checkpoint, or from scratch, to its budget or to `stop_at`.

    `members` are the run, or those of several seeds that the task trains as one batch. Each has its own directory with
    events and record; the checkpoints of all are in the first.

    Every rank calls this; rank 0 alone writes. A run whose loss is NaN or infinite is sealed as `diverged`, and the
    others of its batch go on. Raises UserError when another process holds a directory and NonFiniteLoss when no run is
    left: the last good checkpoint stays.
    """
    with Interruption() as interruption, held([directory for _, directory in members], part):
        run = Run(members, task, part)
        try:
            run.resume()
            with run.progress:
                return run.go(interruption)
        except NonFiniteLoss:
            run.seal_diverged()
            raise
        finally:
            run.journal.close()


class Run:
    """State of a run between updates. What decides its future is in a checkpoint (`_save`, `_load`)."""

    def __init__(self, members: Sequence[Member], task: Task, part: Part) -> None:
        self.members, self.task, self.part = members, task, part
        self.config, self.directory = config, _ = members[0]
        self.seeds = [member.seed for member, _ in self.members]
        refuse_other_members(self.members)
        self.epochs = of_run(config)
        self.total_updates = self.epochs.total_updates
        stop = stop_update(config.stop_at, self.epochs, budget_of(vars(config)).unit)
        self.stop = min(self.total_updates, stop or self.total_updates)
        memory.reset_peak(part.device)

        prepare(task.module, config.precision, part.device, config.model.channels_last)
        self.players, self.divergence = players_of(task, [member for member, _ in self.members], part)
        alone_on_gpu = part.device.type == "cuda" and len(self.seeds) == 1
        self.updates_between_reads = config.launch.updates_between_reads or (READS_APART if alone_on_gpu else 1)
        self.ema = _moving_average(task.module, config.ema_decay) if config.ema_decay else None
        self.captured = False
        self.update = 0
        self.epoch_loss = [0.0] * len(self.seeds)  # sums over the current epoch's updates of mean loss x count
        self.epoch_count: float = 0
        self.epoch_parts: dict[str, tuple[list[float], float]] = {}  # sums and counts of the loss's parts and players
        self.samples = 0  # trained on by this process since the journal last heard of it
        self.journal = Journals(self.members, writes=part.rank == 0)
        if self.journal.writes:
            self.sealer = Sealer(self.members, task, self.players, part)

    def record_updates(self, replays: Replays) -> None:
        """Perform updates and evaluations through `replays`."""
        (player,) = self.players.values()
        assert isinstance(player.step, Step)
        player.step = CapturedStep(player.step, replays)
        self.task.perform = replays  # type: ignore[attr-defined]
        self.captured = True

    def resume(self) -> None:
        """Load the newest checkpoint that can be used, if any, and cut the event log back to where it stood then. A run
        that was begun and has none begins again, and says so. Where updates can be recorded, they will be.

        Raises UserError, with nothing changed on disk, when there are checkpoints and none can be used.
        """
        state, refused = checkpoint.load_newest(self.directory.checkpoints, use=self._load)
        if state is None and refused:
            path, reason = refused[0]
            raise UserError(
                f"run {self.directory.name}: no checkpoint of its {len(refused)} can be used ({path.name}: {reason}); "
                "put one back, or move the run directory away to start the run again"
            )
        if state is not None:
            self.journal.ended = set(self.divergence.reasons)
        kept = self.journal.go_back(_listed(state["events"]) if state else [None] * len(self.seeds), self.update)
        if state is None:
            self._begin()
        elif state["optimizer_ran"] != (now := described(self.config, self.players)):
            self.journal.note("optimizer_changed", before=state["optimizer_ran"], now=now)
        title = title_of([config for config, _ in self.members])
        self.progress = RunProgress(title, self.total_updates, self.update, self.part.rank == 0)
        replays = capture.replays_of(
            self.config, self.part.device, self.part.world_size, len(self.seeds), self.progress.say
        )
        if replays is not None:
            self.record_updates(replays)
        if refused:
            parallel.wait_for_all(self.part.device)  # every rank has read what is renamed now
        for path, reason in refused if self.journal.writes else ():
            aside = checkpoint.set_aside(path)
            self.journal.note("checkpoint_refused", file=path.name, reason=reason)
            self.progress.say(
                f"checkpoint {path.name} is refused ({reason}), kept as {aside.name}; the one before is used"
            )
        if state is None and kept:
            files = ", ".join(str(Path(path.parent.name, path.name)) for path in kept)
            self.journal.note("without_checkpoint", kept=kept[0].name)
            self.progress.say(
                "the run was begun before, but has no checkpoint (none was saved yet, or they were removed): it begins "
                f"again at its first update; the events it had written are kept in {files}"
            )

    def go(self, interruption: Interruption) -> Outcome:
        """Perform the remaining updates and seal what was reached."""
        if self.captured:
            self.journal.note("captured", update=self.update)
        self.journal.start_clock()
        if self.perform(interruption, until=self.stop):
            return self._finish()
        self._save()
        self.journal.note("interrupted", update=self.update)
        parallel.wait_for_all(self.part.device)  # a rank that leaves early could take down the one that still writes
        return Outcome("interrupted")

    def perform(self, interruption: Interruption, until: int) -> bool:
        """Perform updates up to `until`; return False when an interruption ended them before."""
        while self.update < until:
            leaving = self._stretch(interruption, until)
            if self.epochs.ends_with(self.update):
                self._end_epoch(self.epochs.done(self.update) - 1)
            if self._saves():
                self.journal.stop_clock()
                self._save()
                self.journal.start_clock()
            if leaving and self.update < until:
                return False
        return True

    def _stretch(self, interruption: Interruption, until: int) -> bool:
        """Perform updates up to the next read, and take note of what they were; return whether a rank wants to leave.

        Meanwhile losses stay on the device. Where one turns out not to be finite, all is put back to where the stretch
        began and performed again, each loss read before the parameters change: of the update that diverged, and of
        those after it, nothing is left.
        """
        if self.updates_between_reads == 1 and not self.captured:
            return self._note(read([self._perform(interruption, checked=True)]))
        begun, before = self.update, copy_of_state(self.config, self.task, self.players, self.ema, self.part)
        unread, since = [self._perform(interruption, checked=False)], time.monotonic()
        while self.update < until and not self._reads(len(unread), since, interruption):
            unread.append(self._perform(interruption, checked=False))
        stepped = read(unread)
        if all(math.isfinite(loss) for one in stepped for loss in self.divergence.left(one.losses)):
            return self._note(stepped)
        self.update = begun
        put_back(before, self.task, self.players, self.ema, self.part)
        leaving = False
        for first in stepped:
            leaving |= first.leaving | self._note(read([self._perform(interruption, checked=True)]))
            # Kernels that round in another order each time could spare a run now what it met before.
            self.divergence.check_losses(self.update, first.losses, first.player)
            self.seal_diverged()
        return leaving

    def _perform(self, interruption: Interruption, checked: bool) -> Unread:
        """Perform the next update, as `Step` does."""
        player = self.players[whose_turn(self.task, self.config, self.update + 1)]
        player.follow_schedule(self.epochs, self.update + 1)
        done = player.step(self.update + 1, lambda: interruption.requested, checked)
        self.seal_diverged()
        self.update += 1
        if self.ema is not None:
            self.ema.update(self.task.module)
        return done

    def _reads(self, unread: int, since: float, interruption: Interruption) -> bool:
        """Whether what the last updates were is read here: all ranks must come to the same answer."""
        if unread == self.updates_between_reads or self.epochs.ends_with(self.update) or self._saves():
            return True
        alone = self.part.world_size == 1
        return alone and (interruption.requested or time.monotonic() - since > SECONDS_BETWEEN_READS)

    def _note(self, stepped: Sequence[Stepped]) -> bool:
        """Add updates, the last of which was performed last, to the sums of the epoch; return whether a rank wants to
        leave."""
        for one in stepped:
            self.epoch_loss = _plus(self.epoch_loss, one.losses, one.count)
            parts = one.parts if one.player == ONLY else {one.player: one.losses, **one.parts}
            for part, means in parts.items():
                sums, count = self.epoch_parts.get(part, (None, 0))
                self.epoch_parts[part] = _plus(sums, means, one.count), count + one.count
            self.epoch_count += one.count
            self.samples += one.samples
        last = stepped[-1]
        left = self.divergence.left(last.losses)
        self.progress.updated(self.update, sum(left) / len(left), last.samples * len(last.losses))
        return any(one.leaving for one in stepped)

    def _saves(self) -> bool:
        """Whether a checkpoint is saved here."""
        return self.update == self.stop or self._is_due(self.config.checkpoint.every)

    def _is_due(self, every: int) -> bool:
        """Whether the run ends here, or so many epochs, or updates where the budget counts them."""
        if self.update == self.total_updates:
            return True
        if self.config.updates is not None:
            return self.update % every == 0
        return self.epochs.ends_with(self.update) and self.epochs.done(self.update) % every == 0

    def _begin(self) -> None:
        self.journal.event(
            "begin",
            config_digest=EachRun(config_digest(member) for member, _ in self.members),
            seed=EachRun(self.seeds),
            parameters=sum(parameter.numel() for parameter in self.task.module.parameters()) // len(self.seeds),
            total_updates=self.total_updates,
            updates_per_epoch=self.epochs.for_event,
        )

    def _end_epoch(self, epoch: int) -> None:
        mean_loss = EachRun(total / self.epoch_count for total in self.epoch_loss)
        self.journal.event("train", epoch=epoch, update=self.update, loss=mean_loss, lr=self._rates(), **self._parts())
        self.epoch_loss, self.epoch_count, self.epoch_parts = [0.0] * len(self.seeds), 0, {}
        norms = {
            f"{name}.{key}" if name else key: value
            for name, player in self.players.items()
            for key, value in player.norms.take().items()
        }
        self.journal.epoch(epoch, self.update, self.samples, **norms)
        self.samples = 0
        if self._is_due(self.config.evaluation.every):
            self._evaluate(epoch)
        self.journal.start_clock()

    def _rates(self) -> EachRun:
        """The learning rate of each run at this update, before `lr_scale`; of several players, that of each."""
        rates = {name: player.rates(self.epochs, self.update) for name, player in self.players.items()}
        runs = [{name: of_all[run] for name, of_all in rates.items()} for run in range(len(self.seeds))]
        return EachRun(of_each(self.config, own.__getitem__) for own in runs)

    def _parts(self) -> dict[str, EachRun]:
        """Of each run the epoch's mean of every part of its loss, and of several players each one's loss."""
        means = {name: [total / count for total in sums] for name, (sums, count) in self.epoch_parts.items()}
        runs = range(len(self.seeds))
        return {"parts": EachRun({name: mean[run] for name, mean in means.items()} for run in runs)} if means else {}

    def _evaluate(self, epoch: int) -> None:
        trained = [player.optimizer for player in self.players.values()]
        metrics = evaluate(self.config, self.task, trained, self.ema, self.part)
        self.journal.event("evaluation", epoch=epoch, update=self.update, **metrics)
        place = f"epoch {epoch + 1}/{self.config.total_epochs}"
        if self.config.updates is not None:
            place = f"update {self.update:,}/{self.total_updates:,}"
        self.progress.say(f"{place}  {metrics_line(metrics, self.divergence.left)}")
        if self.config.curve and (line := on_track(self.config.curve, epoch, metrics, self.update)):
            self.progress.say(line)

    def _finish(self) -> Outcome:
        status = "finished" if self.update == self.total_updates else "partial"
        outcome = "diverged" if self.divergence.reasons else status
        if not self.journal.writes:
            return Outcome(outcome)
        digests = EachRun(map(checkpoint.parameters_digest, self._modules()))
        if status == "finished":
            epoch = self.config.total_epochs - 1
            self.journal.event("end", epoch=epoch, update=self.update, status=status, parameters_digest=digests)
        sealed = self.divergence.left(list(zip(self.members, digests, strict=True)))
        records = [self._seal(member, status, digest) for member, digest in sealed]
        return Outcome(outcome, records[0])

    def seal_diverged(self) -> None:
        """Seal the runs that have diverged since this was asked last."""
        for index, reason in self.divergence.reasons.items() if self.journal.writes else ():
            if index not in self.journal.ended:
                self.journal.end(index, "non_finite_loss", message=reason)
                self._seal(self.members[index], "diverged", None)
                if len(self.divergence.reasons) < len(self.members):
                    self.progress.say(f"run {self.members[index][1].name} ends here, the others go on: {reason}")

    def _modules(self) -> list[nn.Module]:
        """The module of each seed."""
        return self.task.module.agents() if len(self.seeds) > 1 else [self.task.module]  # type: ignore[operator]

    def _seal(self, member: Member, status: str, digest: str | None) -> Path:
        progress = {
            "update": self.update,
            "total_updates": self.total_updates,
            "epoch": self.epochs.done(self.update),
            "total_epochs": self.config.total_epochs,
        }
        return self.sealer(member, status, progress, digest)

    def _save(self) -> None:
        """Write a checkpoint, which holds no NaN or infinite parameters. Raises NonFiniteLoss when no run is left."""
        self.divergence.check_parameters(self.update)
        self.seal_diverged()
        trained = state_of(self.config, self.task, self.players, self.ema, self.part)
        if not self.journal.writes:
            return
        counted = {
            "runs": self._identity(),
            "update": self.update,
            "epoch_loss": self.epoch_loss,
            "epoch_count": self.epoch_count,
            "epoch_parts": self.epoch_parts,
            "diverged": self.divergence.reasons,
            "events": self.journal.positions(),
        }
        checkpoint.save(self.directory.checkpoints, self.update, {**trained, **counted}, self.config.checkpoint.keep)

    def _load(self, state: dict[str, Any]) -> None:
        """Take up `state`, all of it. Raises Unusable, before anything is changed, where it is of another run."""
        self._require_own(state)
        require_fit(state, self.task, self.players, self.ema)
        self.update, self.epoch_count = state["update"], state["epoch_count"]
        self.epoch_loss = _listed(state["epoch_loss"])
        self.epoch_parts = state.get("epoch_parts", {})  # earlier code kept none
        self.divergence.reasons = state.get("diverged", {})
        load_state(state, self.task, self.players, self.ema, self.part)
        if self.config.launch.threads is None:  # another count would round otherwise
            torch.set_num_threads(state["threads"])

    def _identity(self) -> list[list[Any]]:
        """Digest of the configuration and seed of each run."""
        return [[config_digest(config), config.seed] for config, _ in self.members]

    def _require_own(self, state: dict[str, Any]) -> None:
        """Raise Unusable for a checkpoint of other runs. Those of earlier code do not say whose they are."""
        own, theirs = self._identity(), state.get("runs")
        if theirs is not None and theirs != own:
            seeds = [seed for _, seed in theirs], [seed for _, seed in own]
            if seeds[0] != seeds[1]:
                raise checkpoint.Unusable(f"it is of seed {_said(seeds[0])}, not {_said(seeds[1])}")
            raise checkpoint.Unusable(f"it is of another configuration ({theirs[0][0][:12]}, not {own[0][0][:12]})")
        if not 0 < state["update"] <= self.total_updates:
            raise checkpoint.Unusable(f"it is of update {state['update']} of {self.total_updates}")
        for name in ("epoch_loss", "events"):
            if (count := len(_listed(state[name]))) != len(self.seeds):
                raise checkpoint.Unusable(f"it is of {count} runs, not {len(self.seeds)}")
        if state["epoch_count"] < 0:
            raise checkpoint.Unusable(f"its epoch_count is {state['epoch_count']}")


def _moving_average(module: nn.Module, decay: float) -> ModelEmaV3:
    from timm.utils import ModelEmaV3  # timm takes three seconds to import

    return ModelEmaV3(module, decay=decay)


def _listed(value: Any) -> list[Any]:
    """A checkpoint's values of each seed; older checkpoints have the one of their one."""
    return value if isinstance(value, list) else [value]


def _plus(sums: list[float] | None, means: list[float], count: float) -> list[float]:
    """`sums`, or zeros, with those that `means` are of."""
    return [total + mean * count for total, mean in zip(sums or [0.0] * len(means), means, strict=True)]


def _said(seeds: list[int]) -> str:
    return ",".join(map(str, seeds))
