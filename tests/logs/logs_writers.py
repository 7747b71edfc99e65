"""Programs that write into a collector's pipes, and what of it stands on disk."""

import subprocess
import sys

from workerctl.logs.reader import read


def spawn_writer(program, pipe):
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=pipe.writing)
    pipe.end()
    return writer


def texts(directory, **options):
    return [line.text for line in read(directory, **options)]
