"""What a service is made of beside its readers: in the process that owns the queue, and in one that has none."""

from dataclasses import dataclass

from app.engine import devices
from app.engine.admission import Admission
from app.engine.budget import MemoryBudget
from app.engine.counts import Counts
from app.engine.job_queue import BatchLimits
from app.engine.memory_plan import MemoryPlan
from app.engine.owner import Owner, RemoteScheduler, RemoteSupervisor
from app.engine.scheduler import Scheduler
from app.engine.supervisor import Supervisor
from app.settings import Settings


@dataclass(frozen=True)
class Parts:
    """Parts of a ``Service``; ``reader_mib`` is what one file may take in a reader."""

    counts: Counts
    memory: MemoryBudget
    admission: Admission
    scheduler: Scheduler | RemoteScheduler
    supervisor: Supervisor | RemoteSupervisor
    reader_mib: int

    @classmethod
    def own(cls, settings: Settings, num_processes: int = 1) -> "Parts":
        """Queue and engines of this process, which ``num_processes`` web processes use, itself among them."""
        plan = MemoryPlan.of(
            settings, [choice.torch_device for choice in devices.choose(settings.device)], num_processes
        )
        counts = Counts.create(num_processes)
        memory = MemoryBudget(plan.request_bytes(plan.pass_bytes * plan.num_cpu_engines), counts)
        admission = Admission(settings.queue_requests, settings.queue_points, counts)
        batches = BatchLimits(settings.batch_requests, settings.shared_voxels, settings.batch_delay_ms / 1000)
        scheduler = Scheduler(admission, batches)
        supervisor = Supervisor(settings, scheduler, plan, memory)
        return cls(counts, memory, admission, scheduler, supervisor, plan.reader_mib(settings))

    @classmethod
    def of_owner(cls, settings: Settings, owner: Owner, counts: Counts, reader_mib: int) -> "Parts":
        """Those of another process."""
        admission = Admission(settings.queue_requests, settings.queue_points, counts)
        memory, scheduler = MemoryBudget(counts=counts), RemoteScheduler(owner, counts)
        return cls(counts, memory, admission, scheduler, RemoteSupervisor(owner, counts), reader_mib)
