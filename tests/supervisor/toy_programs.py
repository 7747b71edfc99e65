"""The programs of toy processes, as text that a house writes into its folder."""

from __future__ import annotations

# A worker does what the file `behaviour` in its folder says when it starts: a toy, but on the real protocol.
TEMPLATE = """
import faulthandler, json, os, select, signal, subprocess, sys, time
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
supervisor = os.getppid()

def behaviour():
    try:
        return open(folder + "/behaviour").read().split()
    except FileNotFoundError:
        return []

def wait_for_adoption():
    end = time.monotonic() + 10
    while os.getppid() != supervisor:
        if time.monotonic() > end:
            os._exit(1)
        time.sleep(0.0002)

def hang_in_here():
    time.sleep(1000)

def wait_for(channel, kind, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([channel], [], [], 0.5)
        for message in channel.receive():
            if message["type"] == kind:
                return

def work(request):
    os.setsid()
    channel_fd, out, err, *_ = request["fds"]
    os.dup2(out, 1); os.dup2(err, 2)
    import socket
    channel = Channel(socket.socket(fileno=channel_fd))
    does = behaviour() + os.environ.get("TOY", "").split()
    if "die-early" in does:
        os._exit(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(time.monotonic()))
    faulthandler.register(signal.SIGUSR2)
    if "default-term" in does:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    wait_for_adoption()
    try:
        wait_for(channel, "go")
    except ChannelClosed:
        os._exit(0)
    with open(folder + "/went", "a") as file:
        file.write(f"{time.monotonic()} {request['slot']} {os.getpid()}\\n")
    print("hello from slot", request["slot"], flush=True)
    if "crash-at-boot" in does:
        print("cannot import nonsense", file=sys.stderr, flush=True)
        os._exit(1)
    if "unusable" in does:
        channel.send({"type": "failed", "exit_code": 78, "message": "setting x is wrong"})
        os._exit(78)
    if "away" in does:
        channel.send({"type": "failed", "exit_code": 69, "message": "db.example:5432 does not answer"})
        os._exit(69)
    if "never-ready" in does:
        time.sleep(1000)
    for word in does:
        if word.startswith("slow="):
            time.sleep(float(word[5:]))
    if "grandchild" in does:
        subprocess.Popen(["sleep", "1000"], cwd=folder)
    if "stray" in does:
        subprocess.Popen(["sh", "-c", "set -m; sleep 1000 & sleep 1000"], cwd=folder)
    if "silent" in does:
        channel.send({"type": "ready"})
        hang_in_here()
    fat = [bytearray(int(word[4:]) << 20) for word in does if word.startswith("fat=")]
    for block in fat:
        block[::4096] = b"x" * len(block[::4096])
    for word in does:
        if word.startswith("fat-child="):
            fatten = "import time; x = b'x' * (int(%s) << 20); time.sleep(1000)" % word[10:]
            subprocess.Popen([sys.executable, "-c", fatten], cwd=folder)
    channel.send({"type": "ready"})
    if "die-on-probation" in does:
        time.sleep(0.05)
        os._exit(3)
    jobs = 1 if f"busy={request['slot']}" in does else 0
    while True:
        channel.send({"type": "heartbeat", "jobs_running": jobs, "jobs_done": 7, "jobs_failed": 0})
        select.select([channel], [], [], 5.0 if "calm" in does else 0.05)
        try:
            for message in channel.receive():
                with open(folder + "/told", "a") as file:
                    file.write(f"{message['type']} {request['slot']}\\n")
                if message["type"] == "trim" and "trims" in does:
                    fat.clear()
                    block = None
        except ChannelClosed:
            os._exit(0)
        if "crash-when-ready" in behaviour():
            os.kill(os.getpid(), signal.SIGKILL)
        if stopped and "ignore-term" not in does:
            channel.send({"type": "draining"})
            drain = [float(word[6:]) for word in does if word.startswith("drain=")]
            if len(stopped) > 1 or not drain or time.monotonic() > stopped[0] + drain[0]:
                os._exit(0)

def serve(channel):
    channel.send({"type": "ready", "fingerprint": CODE})
    while True:
        select.select([channel], [], [], 0.1)
        channel.send({"type": "heartbeat"})
        try:
            messages = channel.receive()
        except ChannelClosed:
            return
        for message in messages:
            if "no-answer" in behaviour():
                for fd in message["fds"]:
                    os.close(fd)
                continue
            if "no-fork" in behaviour():
                channel.send({"type": "fork-failed", "serial": message["serial"], "message": "EAGAIN"})
                for fd in message["fds"]:
                    os.close(fd)
                continue
            fork(channel, message)

def be_a_spare(request):
    import socket
    os.setsid()
    channel_fd, out, err = request["fds"]
    os.dup2(out, 1); os.dup2(err, 2)
    wait_for_adoption()
    serve(Channel(socket.socket(fileno=channel_fd)))
    os._exit(0)

def fork(channel, request):
    read_end, write_end = os.pipe()
    intermediate = os.fork()
    if intermediate == 0:
        worker = os.fork()
        if worker == 0:
            os.close(read_end); os.close(write_end)
            channel.close()
            try:
                be_a_spare(request) if request["as"] == "template" else work(request)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
        os.write(write_end, str(worker).encode())
        os._exit(0)
    os.close(write_end)
    pid = int(os.read(read_end, 32))
    os.close(read_end)
    os.waitpid(intermediate, 0)
    for fd in request["fds"]:
        os.close(fd)
    channel.send({"type": "forked", "serial": request["serial"], "pid": pid})

channel = Channel.from_environment()
CODE = next((word[5:] for word in behaviour() if word.startswith("code=")), "")
if "template-unusable" in behaviour():
    channel.send({"type": "failed", "exit_code": 78, "message": "no module named nonsense"})
    sys.exit(78)
if "template-broken" in behaviour():
    sys.exit("Traceback: it broke")
signal.signal(signal.SIGINT, signal.SIG_IGN)
serve(channel)
"""


# Copies each stream to <folder>/<group>-<slot>.<name>; leaves when asked and nothing is left to read.
COLLECTOR = """
import os, selectors, signal, sys
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
signal.signal(signal.SIGINT, signal.SIG_IGN)
selector = selectors.DefaultSelector()
channel = Channel.from_environment()
selector.register(channel, selectors.EVENT_READ, None)
channel.send({"type": "ready"})
streams = 0
closed = False
while len(stopped) < 2 and not ((stopped or closed) and streams == 0):
    ready = selector.select(0.05)
    if not closed:
        channel.send({"type": "heartbeat"})
    for key, _ in ready:
        if key.data is None:
            try:
                messages = channel.receive()
            except ChannelClosed:
                selector.unregister(channel)
                closed = True
                continue
            for message in messages:
                if message["type"] == "follow":
                    with open(folder + "/followed", "a") as file:
                        file.write(f"{os.getpid()} {message['stream']}\\n")
                    selector.register(message["fds"][0], selectors.EVENT_READ, message)
                    streams += 1
            continue
        content = os.read(key.fd, 65536)
        if content:
            with open(folder + "/{group}-{slot}.{name}".format(**key.data), "ab") as file:
                file.write(content)
        else:
            selector.unregister(key.fd); os.close(key.fd)
            streams -= 1
            channel.send({"type": "stream-ended", "stream": key.data["stream"]})
"""


# Writes every message to <folder>/agent as JSON lines; answers `lost` unless the file `mute` exists.
AGENT = """
import json, os, select, signal, sys
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
signal.signal(signal.SIGINT, signal.SIG_IGN)
channel = Channel.from_environment()
channel.send({"type": "ready"})
channel.send({"type": "primary", "holds_lease": True, "holder": "me"})
while True:
    select.select([channel], [], [], 0.1)
    channel.send({"type": "heartbeat"})
    try:
        messages = channel.receive()
    except ChannelClosed:
        break
    for message in messages:
        for fd in message.pop("fds", ()):
            os.close(fd)
        with open(folder + "/agent", "a") as file:
            file.write(json.dumps(message | {"agent": os.getpid()}) + "\\n")
        if message["type"] == "lost" and not os.path.exists(folder + "/mute"):
            channel.send({"type": "released", "incarnation": message["incarnation"], "jobs": 1})
"""
