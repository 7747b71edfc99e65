"""What users test their own jobs with: a context with fakes for provider and clock, real storage, a simulator."""

from .clock import Clock
from .context import LocalContext, context
from .run import run

__all__ = ["Clock", "LocalContext", "context", "run"]
