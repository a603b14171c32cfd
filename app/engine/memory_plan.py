"""Division of the machine's or container's memory between processes, passes of networks on the CPU, and requests."""

from dataclasses import dataclass

from app.diagnostics.machine import available_bytes, memory_limit_bytes
from app.engine.web_processes import readers
from app.settings import MIB, Settings

SPARE = 0.1  # of all: what nobody counts, such as sockets, pages of tables, and buffers of threads
WEB_BYTES = 96 * MIB
READER_BYTES = 144 * MIB  # its libraries, and what it may keep of files before
ENGINE_BYTES = 480 * MIB  # torch and its libraries, and what it may keep of clouds before
CUDA_ENGINE_BYTES = 2048 * MIB
LARGEST_READER_MIB = 4096
LEAST_BYTES = 64 * MIB  # for requests and for passes, however small the machine


@dataclass(frozen=True)
class MemoryPlan:
    """``shared_bytes`` are divided between requests and the passes of ``num_cpu_engines`` engines on the CPU.

    ``fixed_bytes``, unless 0, is what the settings give to requests.
    """

    shared_bytes: int
    num_cpu_engines: int
    fixed_bytes: int = 0

    @classmethod
    def of(cls, settings: Settings, devices: list[str], num_web: int = 1) -> "MemoryPlan":
        """This machine or container as it is before any process is started; ``devices`` are torch's, one an engine;
        there are ``num_web`` web processes."""
        total_bytes = min(memory_limit_bytes(), available_bytes() or memory_limit_bytes())
        num_cuda = sum(device.startswith("cuda") for device in devices)
        num_cpu = len(devices) - num_cuda
        owners, each = readers(settings, num_web)
        processes = num_web * WEB_BYTES + (owners + (num_web - 1) * each) * READER_BYTES
        processes += num_cpu * ENGINE_BYTES + num_cuda * CUDA_ENGINE_BYTES
        shared = max(2 * LEAST_BYTES, int((1 - SPARE) * total_bytes) - processes)
        return cls(shared, num_cpu, settings.memory_mib * MIB)

    @property
    def pass_bytes(self) -> int:
        """Most bytes of one engine on the CPU: the weights, and one pass of the network."""
        return self.shared_bytes // 2 // max(1, self.num_cpu_engines)

    def request_bytes(self, pass_bytes: int) -> int:
        """Bytes for requests if weights and passes on the CPU take ``pass_bytes`` in all."""
        return self.fixed_bytes or max(LEAST_BYTES, self.shared_bytes - pass_bytes)

    def reader_mib(self, settings: Settings) -> int:
        """MiB that one file may take in a reader: as the settings say, else what this machine allows."""
        return settings.reader_memory_mib or min(LARGEST_READER_MIB, max(LEAST_BYTES, self.shared_bytes) // MIB)
