"""A provider on this machine: the OpenAI and fal.ai protocols over real sockets, misbehaving on demand."""

from .faults import Fault, FaultKind
from .ledger import Entry
from .simulator import Simulator

__all__ = ["Entry", "Fault", "FaultKind", "Simulator"]
