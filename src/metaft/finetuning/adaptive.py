"""AdaptiveRate: a schedule that looks at the loss, and steps back where training diverged."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_GLANCES = 10  # Between two looks, only for divergence.


@dataclass(frozen=True, eq=False)
class _State:
    """Parameters and the optimiser's memory, as they were at one step."""

    parameters: list[Tensor]
    optimizer: dict[str, Any]


class AdaptiveRate(LRScheduler):
    """Lowers the learning rate whenever the loss gets no better.

    The rate rises over the warm-up and then stays. Every `lookahead_steps` the mean loss since
    the last look is compared with the best such mean: where it is lower by less than a
    `threshold`, `patience` times in a row, all rates are multiplied by `decay_factor`. Where the
    loss is no number, or far above what it began with, the parameters and the optimiser go back
    to the last look at which all was well, and the rate is lowered.

    ```python
    schedule = AdaptiveRate(optimizer, lookahead_steps=50)
    for batch in batches:
        loss = loss_of(model(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step(loss)
    ```

    A copy of what learns is kept, with the optimiser's memory; buffers do not go back.

    Args:
        optimizer: Its rates are those to begin with.
        lookahead_steps: Steps between two looks, >= 1.
        threshold: Share by which the loss must fall from look to look, in [0, 1].
        decay_factor: In (0, 1).
        floor: Share of the first rate that is never gone below, in (0, 1].
        patience: Looks in a row without enough improvement before the rate falls, >= 1.
        warmup_steps: Steps over which the rate rises; the first look comes after them.
        divergence_factor: Training has diverged where the loss is so many times that of the
            first steps, or so many times the best and no better than that of the first steps.
        most_returns: Step back so often at most.

    Attributes:
        factor: What the rates are multiplied by now.
        returns: How often it has stepped back.
        returned_at: Steps that had been taken when it last did; -1 before.
        taken: Steps that have been taken.
        is_lost: Whether it diverged once more than it may step back.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        lookahead_steps: int = 100,
        threshold: float = 0.01,
        decay_factor: float = 0.1,
        floor: float = 0.01,
        patience: int = 1,
        warmup_steps: int = 0,
        divergence_factor: float = 2.0,
        most_returns: int = 5,
    ) -> None:
        self.lookahead_steps = lookahead_steps
        self.threshold = threshold
        self.decay_factor = decay_factor
        self.floor = floor
        self.patience = patience
        self.warmup_steps = warmup_steps
        self.divergence_factor = divergence_factor
        self.most_returns = most_returns
        self.factor = 1.0
        self.returns = 0
        self.returned_at = -1
        self.taken = 0
        self.is_lost = False
        self.first_loss = math.nan
        self.best_loss = math.inf
        self.poor_looks = 0
        self.window: list[float] = []  # Of every step since the last look: its glance's mean.
        self._glance_steps = max(1, lookahead_steps // _GLANCES)
        self._unseen: list[Tensor] = []  # Losses since the last glance, on their device.
        self._good: _State | None = None
        super().__init__(optimizer)
        self._good = self._copy_state()

    def step(self, loss: Tensor | float | None = None) -> None:
        """Take the loss of the step that was just taken, and set the rates of the next one."""
        self.taken = self.last_epoch + 1
        if loss is not None:
            self._take(loss)
        super().step()

    def get_lr(self) -> list[float | Tensor]:
        """Return the rates of the next step; called by `step`."""
        risen = min(1.0, (self.last_epoch + 1) / (self.warmup_steps + 1))
        return [rate * self.factor * risen for rate in self.base_lrs]

    @property
    def recent_loss(self) -> float:
        """Return the mean loss at the last glance that still counts; NaN where all is lost."""
        if self.is_lost:
            return math.nan
        known = self.window[-1] if self.window else self.best_loss
        return known if math.isfinite(known) else self.first_loss

    def state_dict(self) -> dict[str, Any]:
        """Return what goes on with another optimiser; the copy of what learns is not in it."""
        left_out = ("optimizer", "_good", "_unseen")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state; what learns now counts as good."""
        self.__dict__.update(copy.deepcopy(state_dict))
        self._unseen = []
        self._good = self._copy_state()

    def _take(self, loss: Tensor | float) -> None:
        # A look at every loss would wait for the device at every step.
        self._unseen.append(torch.as_tensor(loss).detach().float())
        if len(self._unseen) >= self._glance_steps:
            self.glance()

    def glance(self) -> int:
        """See whether training has diverged since the last glance.

        Returns:
            Steps that had been taken when it last stepped back; -1 where it never did.
        """
        if not self._unseen:
            return self.returned_at
        mean, steps = float(torch.stack(self._unseen).mean()), len(self._unseen)
        self._unseen = []
        if math.isnan(self.first_loss) and math.isfinite(mean):
            self.first_loss = mean
        if not mean <= self.divergence_factor * self.first_loss:
            self._step_back()
        elif self.taken > self.warmup_steps:
            self.window += [mean] * steps
            if len(self.window) >= self.lookahead_steps:
                self._look()
        self._set_rates()
        return self.returned_at

    def _look(self) -> None:
        """Compare the losses since the last look with the best."""
        mean = sum(self.window) / len(self.window)
        if mean > self.divergence_factor * self.best_loss and mean >= self.first_loss:
            self._step_back()
            return
        improvement = 1.0 if math.isinf(self.best_loss) else 1 - mean / self.best_loss
        self.poor_looks = self.poor_looks + 1 if improvement < self.threshold else 0
        if self.poor_looks >= self.patience:
            self._lower()
        self.best_loss = min(self.best_loss, mean)
        self.window = []
        self._good = self._copy_state()

    def _set_rates(self) -> None:
        """Let the next step have its rate, also where no call of `step` comes before it."""
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def _lower(self) -> None:
        self.factor = max(self.floor, self.factor * self.decay_factor)
        self.poor_looks = 0

    def _step_back(self) -> None:
        """Go back to the last good state with a lower rate."""
        self.window = []
        if self._good is None or self.returns >= self.most_returns:
            self.is_lost = True
            return
        self.returns += 1
        self.returned_at = self.taken
        self._lower()
        with torch.no_grad():
            for parameter, kept in zip(self._learning(), self._good.parameters, strict=True):
                parameter.copy_(kept)
        self.optimizer.load_state_dict(copy.deepcopy(self._good.optimizer))

    def _copy_state(self) -> _State:
        parameters = [parameter.detach().clone() for parameter in self._learning()]
        return _State(parameters, copy.deepcopy(self.optimizer.state_dict()))

    def _learning(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]
