"""Tools that attack, and a driver that runs them all as whoever starts it: `python sandbox_tools.py` prints JSON.

A tool here answers "GOT ..." when it got what it wanted. The attacks go below Python where they can, through ctypes,
because it is the kernel that has to say no. `control` runs the same tools without a sandbox: there they must succeed,
or the tests would show nothing.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

DECOY = "sk-decoy-0123456789"
GOLD = "the gold answer is " + str(6 * 7)

_LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
"""

ATTACKS: dict[str, str] = {
    "read_password_file": _LIBC
    + """
def read_password_file():
    fd = libc.open(b"/etc/passwd", 0)
    if fd >= 0:
        return "GOT " + os.read(fd, 40).decode()
    return "GOT " + open("/etc/passwd").read(40)
""",
    "list_folder": "import os\ndef list_folder():\n    return 'GOT ' + str(os.listdir('/'))\n",
    "stat_file": "import os\ndef stat_file():\n    return 'GOT ' + str(os.stat('/etc/passwd'))\n",
    "write_home": _LIBC
    + """
def write_home(path):
    fd = libc.open(path.encode(), 0o101, 0o600)
    if fd < 0:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"here")
    return "GOT a file"
""",
    "tcp": _LIBC
    + """
def tcp(port):
    fd = libc.socket(2, 1, 0)
    address = b"\\x02\\x00" + port.to_bytes(2, "big") + b"\\x7f\\x00\\x00\\x01" + bytes(8)
    if fd >= 0 and libc.connect(fd, address, 16) == 0:
        return "GOT a connection"
    import socket
    socket.create_connection(("127.0.0.1", port))
    return "GOT a connection"
""",
    "udp": _LIBC
    + """
def udp(port):
    fd = libc.socket(2, 2, 0)
    address = b"\\x02\\x00" + port.to_bytes(2, "big") + b"\\x7f\\x00\\x00\\x01" + bytes(8)
    if fd >= 0 and libc.sendto(fd, b"x", 1, 0, address, 16) == 1:
        return "GOT a packet out"
    import socket
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))
    return "GOT a packet out"
""",
    "signal_parent": _LIBC
    + """
def signal_parent(pid):
    if libc.kill(pid, 0) == 0 or libc.syscall(434, pid, 0) >= 0:
        return "GOT a way to signal"
    os.kill(pid, 0)
    return "GOT a way to signal"
""",
    "read_parent": _LIBC
    + """
def read_parent(pid):
    if libc.ptrace(0x4206, pid, 0, 0) == 0:  # PTRACE_SEIZE: does not stop the victim
        return "GOT a tracee"
    buffer = ctypes.create_string_buffer(8)
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    for base in range(0x400000, 0x403000, 4096):
        here, there = Piece(ctypes.addressof(buffer), 8), Piece(base, 8)
        if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) > 0:
            return "GOT memory"
    return "GOT " + str(open("/proc/%d/environ" % pid, "rb").read(8))
""",
    "environment": _LIBC
    + """
def environment(decoy):
    def look(text):
        return decoy[::-1] in str(text)
    block = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")
    found = []
    place = 0
    while block and block[place]:
        found.append(block[place])
        place += 1
    if look(found) or look(dict(os.environ)):
        return "GOT the key from the environment"
    import gc
    for thing in gc.get_objects():
        if isinstance(thing, dict) and look(list(thing.values())[:500]):
            return "GOT the key from memory"
    for path in ("/proc/self/environ", "/proc/1/environ"):
        try:
            if look(open(path).read()):
                return "GOT the key from procfs"
        except OSError:
            pass
    return "nothing"
""",
    "fork_bomb": _LIBC
    + """
def fork_bomb():
    import threading
    tries = [os.fork, libc.fork, libc.vfork, lambda: libc.syscall(56, 17, 0, 0, 0, 0)]
    for attempt in tries:
        try:
            pid = attempt()
        except OSError:
            continue
        if pid == 0:
            os._exit(0)
        if pid > 0:
            return "GOT a child"
    threading.Thread(target=print).start()
    return "GOT a thread"
""",
    "execute": "import os\ndef execute():\n    os.execv('/bin/echo', ['echo', 'GOT a program'])\n",
    "much_memory": """
def much_memory():
    bytearray(10 * 1024 ** 3)
    return "GOT 10 GB"
""",
    "much_memory_slowly": """
def much_memory_slowly():
    kept = []
    for _ in range(640):
        kept.append(bytearray(1 << 24))
    return "GOT 10 GB"
""",
    "executable_memory": _LIBC
    + """
def executable_memory():
    libc.mmap.restype = ctypes.c_void_p
    if libc.mmap(None, 4096, 7, 0x22, -1, 0) != ctypes.c_void_p(-1).value:
        return "GOT executable memory"
    data = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    if libc.mprotect(ctypes.c_void_p(data), 4096, 5) == 0:
        return "GOT memory made executable"
    return "nothing"
""",
    "poison_memory": _LIBC
    + """
def poison_memory():
    libc.mmap.restype = ctypes.c_void_p
    data = libc.mmap(None, 4096, 3, 0x22, -1, 0)
    ctypes.memset(data, 1, 4096)
    for advice in (101, 100):  # MADV_SOFT_OFFLINE, MADV_HWPOISON: root alone may, and the whole machine loses the page
        if libc.madvise(ctypes.c_void_p(data), 4096, advice) == 0 or ctypes.get_errno() != 1:
            return "GOT a page of the machine's"
    return "nothing"
""",
    "more_limits": """
def more_limits():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    return "GOT more"
""",
    "loop": "def loop():\n    while True:\n        pass\n",
    "loop_in_c": "def loop_in_c():\n    return 9 ** 9 ** 9\n",
    "loop_in_regex": "import re\ndef loop_in_regex():\n    return re.match('(a+)+$', 'a' * 64 + 'b')\n",
    "loop_deaf": """
import signal
def loop_deaf():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
""",
    "exit_hard": "import os\ndef exit_hard():\n    os._exit(0)\n",
    "exit_soft": "import sys\ndef exit_soft():\n    sys.exit('bye')\n",
    "crash": "import ctypes\ndef crash():\n    ctypes.string_at(0)\n",
    "find_gold": """
import gc, sys
def find_gold(gold):
    wanted = gold[::-1]
    for thing in gc.get_objects():
        for inner in [thing, *gc.get_referents(thing)][:200]:
            if isinstance(inner, str) and inner == wanted and inner is not wanted:
                return "GOT gold in memory"
    frame = sys._getframe()
    while frame is not None:
        values = [*frame.f_locals.values(), *frame.f_globals.values()]
        if any(value == wanted and value is not wanted for value in values if isinstance(value, str)):
            return "GOT gold in a frame"
        frame = frame.f_back
    return "nothing"
""",
    "patch_checker": """
import sys
def patch_checker():
    names = [name for name in sys.modules if name.startswith(("harness.scoring", "harness.types", "tasks", "trainer"))]
    for name in names:
        for key in list(vars(sys.modules[name])):
            setattr(sys.modules[name], key, lambda *_, **__: True)
    return "GOT " + str(names) if names else "nothing"
""",
    "foreign_code": """
import gc
def foreign_code():
    for thing in gc.get_objects():
        if type(thing).__name__ == "Tool" and thing.name != "foreign_code":
            return "GOT " + thing.name
    return "nothing"
""",
    "forge_reply": """
import os, struct, sys
def forge_reply():
    frame = sys._getframe()
    while "token" not in frame.f_locals:
        frame = frame.f_back
    text = b"forged"
    os.write(3, struct.pack("<I8sIBf", len(text), frame.f_locals["token"], 0, 0, 0.0) + text)
    return "the true answer"
""",
    "flood_reply": "import os\ndef flood_reply():\n    while True:\n        os.write(3, bytes(65536))\n",
}
LOOPS = ("loop", "loop_in_c", "loop_in_regex", "loop_deaf")
CONTROLS = (
    "read_password_file",
    "list_folder",
    "stat_file",
    "write_home",
    "tcp",
    "udp",
    "signal_parent",
    "read_parent",
)
CONTROLS += ("executable_memory", "environment", "fork_bomb", "execute", "find_gold", "patch_checker")


def arguments(folder: str, tcp_port: int, udp_port: int, victim: int) -> dict[str, dict[str, Any]]:
    """What an attack is told. The decoy and the gold go in reversed, so that finding the argument is no find."""
    return {
        "write_home": {"path": f"{folder}/written"},
        "tcp": {"port": tcp_port},
        "udp": {"port": udp_port},
        "signal_parent": {"pid": victim},
        "read_parent": {"pid": victim},
        "environment": {"decoy": DECOY[::-1]},
        "find_gold": {"gold": GOLD[::-1]},
    }


def attack_all() -> dict[str, Any]:
    """Every attack in one sandbox, and what was seen from outside afterwards."""
    from harness.sandbox import Sandbox, SandboxConfig

    with tempfile.TemporaryDirectory() as folder, listeners() as (tcp, udp):
        told = arguments(folder, tcp.getsockname()[1], udp.getsockname()[1], os.getpid())
        config = SandboxConfig(workers=1, call_timeout=0.6, memory_bytes=1 << 29)
        results = {}
        with Sandbox(config) as sandbox, sandbox.episode() as episode:
            for name in ATTACKS:
                start = time.monotonic()
                result = episode.run(ATTACKS, [(name, told.get(name, {}))])[0]
                results[name] = [result.status, result.output, time.monotonic() - start]
            layers, powers = sandbox.layers, [line for pid in sandbox.pids for line in capabilities(pid)]
        written = sorted(path.name for path in Path(folder).iterdir())
        return {
            "uid": os.getuid(),
            "results": results,
            "layers": layers,
            "heard": heard(tcp, udp),
            "written": written,
            "capabilities": powers,
        }


def capabilities(pid: int) -> list[str]:
    """What a process may beyond others, as the kernel tells it: the masks of its sets."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"))]


def control(name: str) -> str:
    """The same tool without a sandbox, in this process, with another one as the victim."""
    sys.modules.setdefault("harness.scoring", sys)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"], **quiet)
    with tempfile.TemporaryDirectory() as folder, listeners() as (tcp, udp):
        told = arguments(folder, tcp.getsockname()[1], udp.getsockname()[1], victim.pid)
        namespace: dict[str, Any] = {"GOLD": GOLD, "kept": [GOLD], "vars": lambda module: {}}
        exec(ATTACKS[name], namespace)
        try:
            return str(namespace[name](**told.get(name, {})))
        except OSError as error:
            return str(error)
        finally:
            victim.kill()
            victim.wait()


class listeners:
    """A TCP and a UDP socket on loopback."""

    def __enter__(self) -> tuple[socket.socket, socket.socket]:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        return self.tcp, self.udp

    def __exit__(self, *_: object) -> None:
        self.tcp.close()
        self.udp.close()


def heard(tcp: socket.socket, udp: socket.socket) -> list[str]:
    names = []
    for name, sock, listen in (("tcp", tcp, tcp.accept), ("udp", udp, lambda: udp.recv(10))):
        sock.setblocking(False)
        try:
            listen()
            names.append(name)
        except BlockingIOError:
            pass
    return names


# --- as somebody else --------------------------------------------------------------------------------------------


# The shell is there so that the last exec is made without root's capabilities.
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c", 'exec "$@"', "sh"]


def interpreter_for_nobody() -> str | None:
    """A Python of this version that an ordinary user may run."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        command = [*AS_NOBODY, path, "-c", "import json"]
        if Path(path).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return path
    return None


@contextmanager
def readable_by_nobody(*distributions: str) -> Iterator[Path]:
    """A folder with copies of this file, the harness, what its sandbox imports and the installed `distributions`: a
    checkout and a virtual environment may lie where an ordinary user cannot read."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(root / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(__file__, folder)
        for distribution in ("time-machine", *distributions):
            copy_distribution(distribution, folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder


def copy_distribution(name: str, folder: Path) -> None:
    """What was installed of one distribution, but its scripts and its tests."""
    for file in metadata.files(name) or []:
        if ".." not in file.parts and not {"tests", "__pycache__"} & set(file.parts):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), folder / file)


def environment_for(libraries: Path) -> dict[str, str]:
    """Where the harness is found, and the key that no tool may find."""
    own = {"PYTHONPATH": str(libraries), "PYTHONDONTWRITEBYTECODE": "1", "DECOY_API_KEY": DECOY}
    return {"PATH": os.environ.get("PATH", ""), **own}


def main() -> None:
    if len(sys.argv) > 1:
        print(control(sys.argv[1]))
        return
    keep = [GOLD, gc.get_count()]
    print(json.dumps(attack_all()))
    del keep


if __name__ == "__main__":
    main()
