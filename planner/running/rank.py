"""One rank of a run: it loads its part, then passes prompts and later tokens through it."""

import time
from typing import Any

from planner.running.jobs import Job, PhaseReport, RankReport, Sequences, cut
from planner.running.stages import LoadedStage, prompts_of
from planner.running.wires import Wires


def run_rank(job: Job, rank: int, meeting_place: str) -> RankReport:
    """Join the others at a file, carry out the run, and tell what it took."""
    from datetime import timedelta

    import torch
    from torch import distributed

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting_place}",
        rank=rank,
        world_size=job.ranks,
        timeout=timedelta(seconds=job.patience_s),
    )
    replica, own = divmod(rank, job.replica_ranks)
    number = stage_of(job, own)
    groups = _groups(distributed, job)
    part = job.stages[number]
    wires = Wires(distributed, groups[replica][number], part.ranks)
    stage = LoadedStage(torch, job, part, own - part.first_rank, wires)
    report = Walk(torch, job, number, rank, stage).run()
    distributed.destroy_process_group()
    return report


def _groups(distributed: Any, job: Job) -> list[list[Any]]:
    """Those who add up together, by replica and stage; every rank makes all of them."""
    found = []
    for replica in range(job.replicas):
        base = replica * job.replica_ranks
        members = [
            [base + part.first_rank + place for place in range(part.ranks)] for part in job.stages
        ]
        found.append([distributed.new_group(ranks) for ranks in members])
    return found


def stage_of(job: Job, rank: int) -> int:
    """The number of the stage of a rank of a replica."""
    return max(number for number, part in enumerate(job.stages) if part.first_rank <= rank)


class Walk:
    """A rank's way through the passes of a run, in the order in which all ranks take them."""

    def __init__(self, torch: Any, job: Job, number: int, rank: int, stage: LoadedStage) -> None:
        self.torch = torch
        self.job = job
        self.number = number
        self.rank = rank
        self.replica = rank // job.replica_ranks
        self.base = self.replica * job.replica_ranks
        """The first rank of the replica."""
        self.stage = stage
        self.wires = stage.wires
        self.last = len(job.stages) - 1
        self.made: list[list[Any]] = []
        """By step, the tokens of each part of the batch, on the first and the last stage."""
        self.logits: list[Any] = []

    def run(self) -> RankReport:
        """Prompts, then later tokens, each measured by itself."""
        job = self.job
        self._warm_up()
        phases = []
        parts = [cut(job.sequences, job.prompt_passes), cut(job.sequences, job.micro_batches)]
        for parts_of, steps in zip(parts, (range(1), range(1, job.output_tokens)), strict=True):
            self.wires.distributed.barrier()
            self.wires.taken()
            cpu, wall = time.process_time(), time.perf_counter()
            for step in steps:
                self._step(step, parts_of)
            self.wires.finish()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            phases.append(self._phase(spent, len(steps) * len(parts_of)))
        return self._report(phases)

    def _warm_up(self) -> None:
        """Pages and kernels are made on first use; nothing of it stays in the cache that a pass
        would see."""
        hidden = self.stage.config.hidden_size
        self.stage.through(self.torch.zeros(1, 2, hidden), 0, 0)
        self.stage.through(self.torch.zeros(1, 1, hidden), 0, 2)
        if self.stage.head is not None:
            self.stage.logits(self.torch.zeros(1, 1, hidden))
        if self.stage.routes:
            # Experts meet as many numbers of rows as a pass has tokens, each with a kernel.
            job = self.job
            prompts = cut(job.sequences, job.prompt_passes)[0].total
            later = cut(job.sequences, job.micro_batches)[0].total
            self.stage.through(self.torch.randn(prompts, job.prompt_tokens, hidden), 0, 0)
            for _ in range(job.output_tokens - 1):
                one = self.torch.randn(later, 1, hidden)
                self.stage.through(one, 0, job.prompt_tokens)

    def _phase(self, spent: tuple[float, float], passes: int) -> PhaseReport:
        moved, of_tokens, cpu_s = self.wires.taken()
        return PhaseReport(
            cpu_s=spent[0],
            messages_cpu_s=cpu_s,
            wall_s=spent[1],
            passes=passes,
            moved_bytes=moved,
            token_bytes=of_tokens,
        )

    def _step(self, step: int, parts: list[Sequences]) -> None:
        """One token for every sequence, part by part."""
        self.made.append([])
        for number, sequences in enumerate(parts):
            seen = 0 if step == 0 else self.job.prompt_tokens + step - 1
            width = self.job.prompt_tokens if step == 0 else 1
            stream = self._entering(step, number, sequences, width)
            stream = self.stage.through(stream, sequences.first, seen)
            self._leaving(stream)
        if step == 0 and self.number == 0 and self.last > 0 and self.job.output_tokens > 1:
            # Prompts and later tokens are cut differently: all of them before any goes on.
            self._collect(parts)

    def _entering(self, step: int, number: int, sequences: Sequences, width: int) -> Any:
        """What a pass begins with: rows of the embedding, or what the stage before hands on."""
        part = self.stage.part
        if not part.embeds:
            before = self._partner(self.number - 1)
            shape = (sequences.total, width, self.stage.config.hidden_size)
            return self.wires.receive(self.torch.empty(shape), before)
        if step == 0:
            prompts = prompts_of(self.torch, self.job)
            first = self.replica * self.job.sequences + sequences.first
            return self.stage.embed(prompts[first : first + sequences.total])
        if step > 1 and self.last > 0:
            self._collect([sequences])
        return self.stage.embed(self._tokens_before(step, number, sequences))

    def _tokens_before(self, step: int, number: int, sequences: Sequences) -> Any:
        """The tokens of the step before, shape (sequences, 1)."""
        before = self.made[step - 1]
        if step > 1:
            return before[number].unsqueeze(1)
        whole = self.torch.cat(before)
        return whole[sequences.first : sequences.last].unsqueeze(1)

    def _collect(self, parts: list[Sequences]) -> None:
        """Receive the tokens that the last stage made of some parts: of the step before the one
        that is under way, or of the prompts at their end."""
        at = self.made[-1] if len(self.made) == 1 else self.made[-2]
        for sequences in parts:
            tokens = self.torch.empty(sequences.total, dtype=self.torch.long)
            at.append(self.wires.receive(tokens, self._partner(self.last), of_tokens=True))

    def _leaving(self, stream: Any) -> None:
        """Hand a pass's stream on, or make tokens of it and send them back."""
        if self.number < self.last:
            self.wires.send(stream, self._partner(self.number + 1))
            return
        logits = self.stage.logits(stream)
        tokens = logits.argmax(dim=-1)
        if self.job.keeps_logits:
            self.logits.append(logits)
        self.made[-1].append(tokens)
        is_wanted = len(self.made) < self.job.output_tokens
        if self.last > 0 and is_wanted:
            self.wires.send(tokens, self._partner(0))

    def _partner(self, stage: int) -> int:
        """The rank of another stage that this one exchanges with."""
        other = self.job.stages[stage]
        return self.base + other.first_rank + self.stage.place.rank

    def _report(self, phases: list[PhaseReport]) -> RankReport:
        tokens: tuple[tuple[int, ...], ...] = ()
        logits: tuple[tuple[tuple[float, ...], ...], ...] = ()
        if self.number == self.last:
            steps = [self.torch.cat(step) for step in self.made]
            tokens = tuple(tuple(row) for row in self.torch.stack(steps, dim=1).tolist())
        if self.logits:
            logits = self._kept_logits()
        return RankReport(
            stage=self.number,
            rank=self.rank,
            replica=self.replica,
            weight_bytes=self.stage.weight_bytes,
            cache_bytes=self.stage.cache.held_bytes,
            prefill=phases[0],
            decode=phases[1],
            tokens=tokens,
            logits=logits,
        )

    def _kept_logits(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        """By sequence and token."""
        job = self.job
        first = len(cut(job.sequences, job.prompt_passes))
        each = len(cut(job.sequences, job.micro_batches))
        steps = [self.torch.cat(self.logits[:first])]
        for place in range(first, len(self.logits), each):
            steps.append(self.torch.cat(self.logits[place : place + each]))
        rows = self.torch.stack(steps, dim=1).tolist()
        return tuple(tuple(tuple(token) for token in row) for row in rows)
