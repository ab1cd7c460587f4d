"""TRL's GRPOTrainer, with what is replaced of it: who generates, what the advantages are, how an update is made.

An update goes through the network in pieces that fit, whose tokens weigh what they weigh in the whole (see loss.py).
Logits are made for the tokens alone that the network said itself: three quarters of an episode are prompt and tools.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.data import jsonio
from harness.models.local.hf import is_out_of_memory, release_memory
from harness.models.local.kv_cache import has_token_cache
from harness.models.local.packages import import_quietly
from harness.models.local.tokenizer import ModelTokenizer
from harness.types import Sampling
from trainer.guards import GuardedTrainer
from trainer.precision import checkpoint_bytes
from trainer.rl.actor import NOT_GENERATED
from trainer.rl.algorithms import ALGORITHMS, compute_advantages, returns_to_go, select_process_rows, spread_over_tokens
from trainer.rl.batches import make_reward_tensors, select_rows, trim_padding
from trainer.rl.data import TrainingSetup
from trainer.rl.generation import EpisodeGenerator, ScoredCompletion, TurnGenerator
from trainer.rl.loss import UpdateSize, compute_token_loss, plan_pieces, split_pieces, weigh_tokens
from trainer.rl.players import copy_for_play, make_player
from trainer.rl.shared_prompt import IGNORED, Tree, count_shared, plan_by_prompt
from trainer.rl.spread import SHARE, FlatGenerations, choose_again, find_spread
from trainer.run_directory import require_space

log = logging.getLogger(__name__)
trl: Any = import_quietly("trl")
LEARNT = 1e-3
"""An advantage above this, or above this share of the largest, is no rounding."""


def project_labelled_only() -> None:
    """TRL's head projects the labelled positions alone where Triton is, and every position elsewhere, for the sake of
    accelerators that compile a kernel a shape. A CPU does not."""
    utils = import_quietly("trl.trainer.utils")
    if hasattr(utils, "_use_triton"):
        utils._use_triton = lambda device: True


class EnvironmentTrainer(GuardedTrainer, trl.GRPOTrainer):  # type: ignore[misc]
    """TRL's, with generation, advantages and updates of our own, and a stop at a loss that is no number."""

    advice = "lower learning_rate or raise kl and train anew, or go on from the last checkpoint with --resume"

    def __init__(
        self, setup: TrainingSetup, source: EpisodeGenerator | TurnGenerator, local: ModelTokenizer, **more: Any
    ) -> None:
        self.setup = setup
        self.source = source
        self.scored: list[ScoredCompletion] = []
        self.flat = FlatGenerations(setup.settings.max_flat)
        self._said: torch.Tensor | None = None
        self._rows, self._tokens = setup.settings.micro_batch, setup.settings.micro_tokens
        project_labelled_only()
        whole = copy_for_play(more["model"], setup.settings)
        super().__init__(**more)
        self.player = make_player(self, local, whole)

    def sampling(self) -> Sampling:
        """How this generation is drawn: its seed is the recipe's and the step's."""
        settings = self.setup.settings
        seed = int(jsonio.digest([settings.seed, self.state.global_step])[:7], 16)
        return Sampling(settings.temperature, settings.max_tokens, seed)

    def places(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """This process's prompts with their places among those of all processes."""
        return enumerate(prompts, self.accelerator.process_index * len(prompts))

    def create_model_card(self, *given: Any, **more: Any) -> None:
        """None is written: run.json and recipe.toml say what a run is."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        require_space(Path(self.args.output_dir), checkpoint_bytes(model))
        super()._save_checkpoint(model, trial)

    # --- generations ---------------------------------------------------------------------------------------------

    def generate(self, prompts: Sequence[str]) -> None:
        """Plays a sequence a prompt; `scored` is what they earned. Groups without spread are played again, of other
        prompts, as often as the recipe allows."""
        settings, drawn = self.setup.settings, 0
        self.scored = self.source.generate(prompts, self)
        used = {name for names in self._gather_objects(list(prompts)) for name in names}
        for attempt in range(settings.dynamic):
            flat = [
                group for group, spread in enumerate(find_spread(self._rewards()[0], settings.samples)) if not spread
            ]
            seed = f"{settings.seed}:{self.state.global_step}:{attempt}:dynamic"
            again = choose_again(flat, self.source.dataset_rows(), used, seed)
            if not again:
                break
            self._replace(prompts, again)
            used |= set(again.values())
            drawn += len(again)
        if settings.dynamic:
            self._metrics["train"]["groups_drawn_again"].append(drawn)

    def _replace(self, prompts: Sequence[str], again: Mapping[int, str]) -> None:
        """Plays this process's part of groups anew, each with another prompt."""
        size = self.setup.settings.samples
        mine = [(index, place) for index, (place, _) in enumerate(self.places(prompts)) if place // size in again]
        names, places = [again[place // size] for _, place in mine], [place for _, place in mine]
        found = self.source.generate(names, self, places) if mine else []
        for (index, _), one in zip(mine, found, strict=True):
            self.scored[index] = one

    def _gather_objects(self, mine: list[str]) -> list[list[str]]:
        if self.accelerator.num_processes == 1:
            return [mine]
        everybody: list[Any] = [None] * self.accelerator.num_processes
        torch.distributed.all_gather_object(everybody, mine)
        return everybody

    def _rewards(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards and tokens of all processes' sequences, by turn where turns are rewarded; of turns, what they and all
        later ones earn."""
        by_turn = self.setup.settings.credit == "return"
        tables = make_reward_tensors(self.scored, self.setup.settings.max_turns if by_turn else 1)
        rewards, tokens = (self.accelerator.gather(table.to(self.accelerator.device)) for table in tables)
        return returns_to_go(rewards) if by_turn else rewards, tokens

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._said = None
        self.player.sync()  # before TRL would, which tells a failure by a traceback
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        settings = self.setup.settings
        if ALGORITHMS[settings.algorithm].ours or settings.credit == "return":
            output["advantages"] = self._advantages(output["completion_ids"].shape[1])
        everybody = self.accelerator.gather(output["advantages"].abs().reshape(len(inputs), -1).amax(1))
        spread = find_spread(self._rewards()[0], settings.samples)
        self._metrics["train"][SHARE].append(1 - sum(spread) / len(spread))
        rewards = self._metrics["train"]["reward"]
        learns, speaks = bool((everybody > LEARNT).any()), self.accelerator.is_main_process
        self.flat.see(self.state.global_step + 1, learns, rewards[-1] if rewards else 0.0, speaks)
        return output

    def _advantages(self, width: int) -> torch.Tensor:
        """(B,) where a sequence has one reward; (B, T) on tokens where turns have their own."""
        settings = self.setup.settings
        found = compute_advantages(settings.algorithm, *self._rewards(), settings.samples)
        ours = select_process_rows(found, self.accelerator.process_index, len(self.scored))
        if settings.credit != "return":
            return ours[:, 0]
        turns = torch.full((len(self.scored), width), NOT_GENERATED)
        for row, scored in enumerate(self.scored):
            turns[row, : len(scored.tokens.turns)] = torch.tensor(scored.tokens.turns)
        return spread_over_tokens(ours, turns.to(ours.device))

    # --- updates -------------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Makes the gradients of an update, piece after piece; returns its loss, whose own gradient goes nowhere.

        Where memory runs out, the pieces are halved for the rest of the run, and the update begins anew.
        """
        inputs = self._weigh(inputs, self._learning_rows(inputs))
        while True:
            try:
                return self._go_through(model, inputs)
            except Exception as error:
                if not is_out_of_memory(error) or self._rows == 1 or self.is_fsdp_enabled:
                    raise  # in shards, the other processes wait for this one in the middle of a piece
            # Outside of the handler: until it ends, the error's frames hold the tensors that are to be freed.
            self._rows, self._tokens = max(1, self._rows // 2), self._tokens // 2
            log.warning("out of memory; from now on at most %d sequences at once", self._rows)
            model.zero_grad(set_to_none=True)
            release_memory()

    def _learning_rows(self, inputs: Mapping[str, Any]) -> list[int]:
        """The sequences that an update learns from. The others, whose advantage is 0 or next to it beside the largest,
        give no gradient: where nothing but advantages is learnt from, they need not go through the network. One stays
        in any case, the shortest, because processes wait for each other's gradients."""
        settings, advantages = self.setup.settings, inputs["advantages"]
        rows = list(range(len(advantages)))
        if settings.kl or settings.entropy or self.aux_loss_enabled or self.is_fsdp_enabled:
            return rows
        sizes = advantages.abs().reshape(len(rows), -1).amax(1)
        learns = (sizes > LEARNT * sizes.max()).tolist()
        length = inputs["completion_mask"].sum(1).tolist()
        return [row for row in rows if learns[row]] or [min(rows, key=lambda row: length[row])]

    def _weigh(self, inputs: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
        """Some rows of an update with the weights that their tokens have in all of it; what is logged are means over
        these rows."""
        mask = said_tokens(inputs)
        counted = torch.stack([mask.sum(), mask.new_tensor(len(mask)), mask[rows].sum()])
        tokens, sequences, logged = self.accelerator.reduce(counted.double(), reduction="sum").tolist()
        settings, whole = self.setup.settings, float(inputs["num_items_in_batch"])
        size = UpdateSize(tokens, sequences, whole, settings.updates, self.accelerator.num_processes)
        self._size = size
        weights = {
            "token_weights": weigh_tokens(mask, size, settings.loss),
            "entropy_weights": weigh_tokens(mask, replace(size, tokens=logged), "bnpo"),
        }
        return select_rows({**inputs, **weights}, rows)

    def _go_through(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        ids, seen = (torch.cat([inputs[f"prompt_{name}"], inputs[f"completion_{name}"]], 1) for name in ("ids", "mask"))
        width = inputs["completion_ids"].shape[1]
        pieces = self._plan(self.accelerator.unwrap_model(model), ids, seen, width)
        total, logged = torch.zeros((), device=self.accelerator.device), list[dict[str, torch.Tensor]]()
        for number, places in enumerate(pieces):
            piece = trim_padding(select_rows(inputs, places))
            together = nullcontext() if number == len(pieces) - 1 else self.accelerator.no_sync(model)
            with together:
                loss, more = self._piece_loss(model, piece)
                self.accelerator.backward(loss)
            total += loss.detach()
            logged.append(more)
        self._log_update(logged)
        return total.requires_grad_()

    def _piece_loss(self, model: Any, piece: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """A piece's part of the update's loss, and what is logged of it: sums of what its tokens weigh."""
        settings, completion = self.setup.settings, piece["completion_ids"]
        ids = torch.cat([piece["prompt_ids"], completion], dim=1)
        seen = torch.cat([piece["prompt_mask"], piece["completion_mask"]], dim=1)
        self._said = mask = said_tokens(piece)
        logps, entropies, extra = self._get_per_token_logps_and_entropies(
            model, ids, seen, completion.shape[1], compute_entropy=True, compute_aux_loss=self.aux_loss_enabled
        )
        self._said = None
        assert entropies is not None
        found = compute_token_loss(logps, piece, settings)
        policy = (found.losses * piece["token_weights"]).sum()
        loss = policy - settings.entropy * (entropies * piece["entropy_weights"]).sum()
        if extra is not None:
            loss = loss + self.router_aux_loss_coef * extra * len(ids) * self._size.processes / self._size.sequences
        logged = {name: (value * piece["entropy_weights"]).sum() for name, value in found.logged.items()}
        logged |= {"policy_loss": policy.detach(), "entropy": (entropies.detach() * piece["entropy_weights"]).sum()}
        of_rows = {
            name: (found.logged[name] * mask).sum(1) / mask.sum(1) for name in ("clip_ratio/low", "clip_ratio/high")
        }
        logged["clip_ratio/low_min"] = of_rows["clip_ratio/low"].nan_to_num(nan=1.0).min()
        logged["clip_ratio/high_max"] = of_rows["clip_ratio/high"].nan_to_num().max()
        return loss, logged

    def _log_update(self, pieces: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Means over an update's tokens, of all processes."""
        metrics = self._metrics["train"]
        for name in pieces[0]:
            values = self.accelerator.gather(torch.stack([piece[name] for piece in pieces]).sum().reshape(1))
            if name.endswith(("_min", "_max")):
                best = torch.stack([piece[name] for piece in pieces])
                best = self.accelerator.gather((best.min() if name.endswith("min") else best.max()).reshape(1))
                metrics[name].append((best.min() if name.endswith("min") else best.max()).item())
            elif name != "policy_loss" or self.setup.settings.entropy:
                metrics[f"{name}_mean" if name.startswith("clip_ratio") else name].append(values.mean().item())
        if self.setup.settings.entropy:
            metrics["entropy_coef"].append(self.setup.settings.entropy)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """TRL's, of said tokens only and without columns of padding: (B, T) log-probabilities and entropies of the
        last `logits_to_keep` tokens, 0 where the network said nothing."""
        said = self._said if self._said is not None else self._generated(attention_mask, logits_to_keep)
        labels = torch.full_like(input_ids, IGNORED)
        labels[:, -logits_to_keep:] = input_ids[:, -logits_to_keep:].masked_fill(said == 0, IGNORED)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        pieces = [list(range(len(labels)))]
        if batch_size is not None:  # a whole generation, which is only scored
            network = self.accelerator.unwrap_model(model)
            pieces = self._plan(network, input_ids, attention_mask, logits_to_keep)
        parts = [self._score(model, given, places, compute_aux_loss) for places in pieces]
        back = torch.tensor([place for places in pieces for place in places], device=labels.device).argsort()
        logps = torch.cat([part[0] for part in parts])[back][:, -logits_to_keep:]
        known = [part[1] for part in parts if part[1] is not None]
        entropies = torch.cat(known)[back][:, -logits_to_keep:] if known else None
        extra = [part[2] for part in parts if part[2] is not None]
        return logps, entropies if compute_entropy else None, torch.stack(extra).mean() if extra else None

    def _score(
        self, model: Any, given: Mapping[str, torch.Tensor], places: Sequence[int], routed: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Of some rows: (rows, width) log-probabilities and entropies by token, and what routers of experts cost."""
        width = given["labels"].shape[1]
        columns = given["attention_mask"][places].any(0).nonzero()[:, 0].tolist()
        first, last = columns[0], columns[-1] + 1
        cut = {name: value[places, first:last] for name, value in given.items()}
        # Where nothing is said, TRL's head makes a loss of the routers for networks that are configured so.
        more = {"output_router_logits": routed} if hasattr(self.model.config, "output_router_logits") else {}
        network = self.accelerator.unwrap_model(model)
        shared = count_shared(cut) if self._shares(network) and not routed else 0
        tree = Tree(network, cut, shared) if shared else None
        with self.accelerator.autocast():
            output = model(**cut, **more, fused_lm_head=True) if tree is None else tree.run(model, **more)
        found = [output.log_probs, output.entropy]
        if tree is not None:
            found = [None if value is None else tree.unpack(value) for value in found]
        first += shared
        logps, entropies = (
            None if value is None else torch.nn.functional.pad(value, (first + 1, width - last)) for value in found
        )
        assert logps is not None
        return logps, entropies, output.aux_loss if routed else None

    def _shares(self, network: Any) -> bool:
        """Whether the samples of a prompt are learnt from behind one copy of it."""
        whole = not (self.is_fsdp_enabled or self.setup.settings.checkpointing)
        return whole and has_token_cache(network)

    def _plan(self, network: Any, ids: torch.Tensor, seen: torch.Tensor, width: int) -> list[list[int]]:
        """Which rows go through the network together, of prompts and `width` columns more."""
        lengths = seen.sum(1).tolist()
        rows = min(self._rows, len(lengths))
        if self.is_fsdp_enabled:  # every piece is gathered for by all processes
            pieces = plan_pieces(lengths, rows, self._tokens)
            most = self.accelerator.gather(torch.tensor([len(pieces)], device=ids.device)).max()
            return split_pieces(pieces, int(most))
        if not self._shares(network):
            return plan_pieces(lengths, rows, self._tokens)
        prompts = [
            tuple(one[mask.bool()].tolist()) for one, mask in zip(ids[:, :-width], seen[:, :-width], strict=True)
        ]
        return plan_by_prompt(prompts, lengths, rows, self._tokens)

    def _generated(self, attention_mask: torch.Tensor, width: int) -> torch.Tensor:
        """(B, width): 1 for the tokens that the network said, of sequences that were just generated."""
        mask = torch.zeros_like(attention_mask[:, -width:])
        for row, one in enumerate(self.scored):
            mask[row, : len(one.tokens.ids)] = torch.tensor(one.tokens.loss_mask, device=mask.device)
        return mask


def said_tokens(piece: Mapping[str, Any]) -> torch.Tensor:
    """(B, T): 1 for the tokens of a completion that a loss is taken on."""
    mask: torch.Tensor = piece["completion_mask"]
    return mask * piece["tool_mask"] if "tool_mask" in piece else mask
