"""Several processes as one: who is who from torchrun's environment, DDP or FSDP2 from torch itself.

A run without torchrun is a run of one process and never opens a port. Under FSDP2 every decoder layer and the rest are
sharded in place, so that parameters keep their names; `full_tensor` and `copy_to_shard` convert between the two. There
bfloat16 is FSDP's own policy: weights are gathered in 16 bits and gradients reduced in float32, where autocast would
gather them in float32 and keep a copy in 16 bits.
Checkpoints therefore hold whole tensors and load into any number of processes.

Of the weights that a run starts from the first process alone reads the values. In the others the model is without
memory (on torch's meta device) until `place` sends them: all of it for DDP, one decoder layer at a time for FSDP2, so
that main memory for a whole model is needed once and no device holds more than its shards and a layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from cxrgen.core.errors import InputError, unknown
from cxrgen.model.parts import language_layers

DISTRIBUTIONS = ("ddp", "fsdp")
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's number among `count`, and the device that it computes on."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes, equal on all of them."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        result: list[float] = sums.tolist()
        return result

    def all_gather(self, value: Any) -> list[Any]:
        """One value of each process, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def agreed(self, work: Callable[[], T]) -> list[T]:
        """What `work` gives in each process; the first InputError of any is raised in all, so that none waits."""
        result: Any = None
        error: InputError | None = None
        try:
            result = work()
        except InputError as raised:
            error = raised
        answers = self.all_gather((result, error))
        for _, each in answers:
            if each is not None:
                raise each
        return [answer for answer, _ in answers]

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            self.all_reduce_sum([0.0])

    def shutdown(self) -> None:
        """Destroy the process group; leaving it open can abort a rank that exits cleanly."""
        if self.count > 1:
            self.barrier()
            dist.destroy_process_group()


def init_processes(timeout: float = 7200) -> Processes:
    """Rank, count and device from torchrun's environment; the first call opens the process group.

    `timeout`: seconds that a collective call may take, the saving of a large checkpoint included.

    Raises InputError when the port is taken.
    """
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if count > 1 and not dist.is_initialized():
        try:
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        except (dist.DistNetworkError, ValueError) as error:
            port = os.environ.get("MASTER_PORT", "29500")
            raise InputError(
                f"port {port}: the processes cannot meet there ({type(error).__name__}); "
                "give torchrun another --master_port"
            ) from None
    return Processes(rank, count, device)


def machine_processes() -> tuple[int, int]:
    """This process's number among those of its machine, and how many these are."""
    return int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def wrap_model(model: Any, processes: Processes, distribution: str, bf16: bool = False) -> Any:
    """What to call in place of `model` so that gradients are averaged over processes; one process calls it itself.

    `bf16`: a sharded model computes in bfloat16; others do so by `precision`.
    """
    if distribution not in DISTRIBUTIONS:
        raise unknown("distribution", distribution, DISTRIBUTIONS)
    if processes.count > 1 and distribution == "fsdp":
        return _shard(model, processes, bf16)
    place(model, processes)
    if processes.count == 1:
        return model
    return nn.parallel.DistributedDataParallel(
        model, device_ids=[processes.device] if processes.device.type == "cuda" else None
    )


def _shard(model: Any, processes: Processes, bf16: bool) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.count,))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
    for layer in language_layers(model):
        place(layer, processes)
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    place(model, processes)
    return fully_shard(model, mesh=mesh, mp_policy=policy)


def place(module: nn.Module, processes: Processes) -> None:
    """Bring a module to each process's device; where one has it without memory, all get the first process's values.

    All processes must call it. Parameters are new ones then, so nothing may hold them yet. Shards stay as they are.
    Random numbers go on as in the first process, which may have drawn some for new weights.
    """
    if not any(processes.all_gather(any(each.is_meta for each in module.parameters()))):
        module.to(processes.device)
        return
    found = _with_owners(module)
    kinds = [(tensor.shape, tensor.dtype, tensor.requires_grad) for tensor, _ in found]
    kinds = processes.all_gather(kinds if processes.is_main else [])[0]
    assert len(kinds) == len(found), "processes have different models"
    for (tensor, owners), (shape, dtype, trained) in zip(found, kinds):
        value = torch.empty(shape, dtype=dtype, device=processes.device)
        if processes.is_main:
            value = tensor.detach().to(processes.device).contiguous()
        if value.numel():
            dist.broadcast(value.view(-1).view(torch.uint8), src=0)
        if isinstance(tensor, nn.Parameter):
            value = nn.Parameter(value, requires_grad=trained)
        for owner, name in owners:
            setattr(owner, name, value)
    torch.set_rng_state(processes.all_gather(torch.get_rng_state())[0])


def _with_owners(module: nn.Module) -> list[tuple[torch.Tensor, list[tuple[nn.Module, str]]]]:
    """Each parameter and buffer once, shards left out, with all its modules and names: tied ones have several."""
    found: dict[int, tuple[torch.Tensor, list[tuple[nn.Module, str]]]] = {}
    for owner in module.modules():
        for name, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            if tensor is not None and not hasattr(tensor, "full_tensor"):
                found.setdefault(id(tensor), (tensor, []))[1].append((owner, name))
    return list(found.values())


def is_sharded(model: Any) -> bool:
    return hasattr(model, "set_requires_gradient_sync")


def precision(model: Any, device: torch.device, bf16: bool) -> torch.autocast:
    """Context in which a model computes in bfloat16, if it is to; a sharded one does so by its policy."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16 and not is_sharded(model))


def no_sync(runner: Any, enabled: bool, shard_gradients: bool = False) -> Any:
    """Context of a backward pass whose gradients stay in this process; not `enabled` for a step's last batch.

    With `shard_gradients` those of a sharded model are reduced all the same, so that each process keeps its shard only.
    """
    if is_sharded(runner):
        runner.set_requires_gradient_sync(shard_gradients or not enabled)
    elif enabled and isinstance(runner, nn.parallel.DistributedDataParallel):
        return runner.no_sync()
    return nullcontext()


@contextmanager
def whole_weights(model: Any, processes: Processes, bf16: bool) -> Iterator[bool]:
    """Within this context every process computes by itself, without the others: True, or False where none can.

    A sharded model is gathered once for it, where every device has room for the whole of it.
    """
    if not is_sharded(model):
        yield True
        return
    units = [module for module in model.modules() if is_sharded(module)]
    room = _has_room(model, processes, bf16)
    if room:
        model.set_reshard_after_forward(False)
        for unit in units:
            unit.unshard()
    try:
        yield room
    finally:
        model.set_reshard_after_forward(True)
        model.set_reshard_after_forward(False, recurse=False)  # as FSDP has it for the outermost module
        for unit in units:
            unit.reshard()


def _has_room(model: Any, processes: Processes, bf16: bool) -> bool:
    """Whether each device has room for the whole model and as much again as half of it."""
    if processes.device.type != "cuda":
        return True
    sizes = (each.numel() * (2 if bf16 else each.element_size()) for each in model.parameters())
    free, _ = torch.cuda.mem_get_info(processes.device)
    free += torch.cuda.memory_reserved(processes.device) - torch.cuda.memory_allocated(processes.device)
    return bool(min(processes.all_gather(free)) > 1.5 * sum(sizes))


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor in main memory; all processes must call it."""
    tensor = tensor.detach()
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.cpu()


def copy_to_shard(value: torch.Tensor, target: torch.Tensor) -> None:
    """Copy a whole tensor into `target`, of which this process may hold a shard."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    with torch.no_grad():
        if isinstance(target, DTensor):
            mesh = target.device_mesh
            target.copy_(distribute_tensor(value.to(mesh.device_type), mesh, target.placements))
        else:
            target.copy_(value)
