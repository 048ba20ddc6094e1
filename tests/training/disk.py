"""A disk to break: it counts and fails what a program asks of it, and knows what a power loss would leave.

It stands between the program and a real folder, and writes down every operation that changes the folder. For
`after_power_loss` nothing is certain but what was asked for: bytes are there when their file was synced
after them, a name is there (or gone) when its folder was synced after it. Of everything else each single
operation may have happened or not, in any order, and what was written may be zeros or rubbish.
"""

import builtins
import io
import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

WATCHED = ("open", "fsync", "replace", "mkdir", "unlink", "rmdir")


@dataclass
class Node:
    """A file's bytes, or a folder's names, apart from what they are called."""

    folder: bool = False


@dataclass
class Operation:
    """One change: of the bytes of `node`, or of the names in the folder `node`."""

    kind: str  # write, sync, add, move, remove
    node: Node
    name: str = ""
    new_name: str = ""
    child: Node | None = None
    data: bytes = b""
    offset: int = 0


@dataclass
class Disk:
    """What happened below `root` while it was `watched`, and which call shall fail."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    calls: int = 0  # that write, sync, rename, make or open a file
    fails_at: int = 0
    error: int = 0
    stays: bool = False  # all later calls fail as well

    def __post_init__(self):
        self.tree = Node(folder=True)
        self.names = {self.root: self.tree}  # as the program sees them now
        self.names |= {path: Node(folder=path.is_dir()) for path in self.root.rglob("*")}
        self.handles = {}

    def call(self):
        """Counts a call, and fails the one that shall fail."""
        self.calls += 1
        if self.calls == self.fails_at or (self.stays and self.calls > self.fails_at):
            raise OSError(self.error, os.strerror(self.error))

    def note(self, kind, node, **more):
        self.operations.append(Operation(kind, node, **more))

    def forget(self, path):
        for known in [p for p in self.names if p == path or path in p.parents]:
            del self.names[known]

    @contextmanager
    def watched(self, patch):
        """Inside the `with`, what the program does below `root` is written down."""
        real = {name: getattr(os, name) for name in WATCHED}
        open_file, rmtree = builtins.open, shutil.rmtree
        disk = self

        class File(io.FileIO):
            def write(self, data):
                try:
                    disk.call()
                except OSError:
                    super().write(bytes(data)[: len(data) // 2])  # what just fits
                    raise
                disk.note("write", disk.names[Path(self.name)], data=bytes(data), offset=self.tell())
                return super().write(data)

        def watched_open(path, mode="r", *args, **kwargs):
            if "w" not in mode or self.root not in Path(str(path)).parents:
                return open_file(path, mode, *args, **kwargs)
            self.call()
            assert Path(path) not in self.names, "writing over a file is not modelled"
            file = File(os.fspath(path), "w")
            node = self.names[Path(path)] = Node()
            self.note("add", self.names[Path(path).parent], name=Path(path).name, child=node)
            self.handles[file.fileno()] = node
            return io.BufferedWriter(file)

        def os_open(path, flags, *args, **kwargs):
            handle = real["open"](path, flags, *args, **kwargs)
            if isinstance(path, Path) and path in self.names:
                self.call()
                self.handles[handle] = self.names[path]
            return handle

        def fsync(handle):
            self.call()
            real["fsync"](handle)
            self.note("sync", self.handles[handle])

        def replace(old, new):
            self.call()
            real["replace"](old, new)
            old, new = Path(old), Path(new)
            assert old.parent == new.parent, "a move between folders is not modelled"
            self.note("move", self.names[old.parent], name=old.name, new_name=new.name, child=self.names[old])
            moved = {p: n for p, n in self.names.items() if p == old or old in p.parents}
            self.forget(new)
            self.forget(old)
            self.names |= {new / p.relative_to(old): node for p, node in moved.items()}

        def mkdir(path, *args, **kwargs):
            self.call()
            real["mkdir"](path, *args, **kwargs)
            path = Path(path)
            if self.root in path.parents:
                self.names[path] = Node(folder=True)
                self.note("add", self.names[path.parent], name=path.name, child=self.names[path])

        def remove(path, *args, **kwargs):
            real["rmdir" if os.path.isdir(path) else "unlink"](path, *args, **kwargs)
            path = Path(path)
            self.note("remove", self.names[path.parent], name=path.name, child=self.names[path])
            self.forget(path)

        def remove_all(path, ignore_errors=False, **kwargs):
            if self.root not in Path(path).parents:
                return rmtree(path, ignore_errors=ignore_errors, **kwargs)
            if not os.path.isdir(path):
                assert ignore_errors
                return None
            for entry in sorted(Path(path).iterdir()):
                remove_all(entry) if entry.is_dir() else remove(entry)
            return remove(path)

        with patch.context() as patching:
            patching.setattr(builtins, "open", watched_open)
            patching.setattr(shutil, "rmtree", remove_all)
            for name, function in (
                ("open", os_open),
                ("fsync", fsync),
                ("replace", replace),
                ("mkdir", mkdir),
                ("unlink", remove),
            ):
                patching.setattr(os, name, function)
            yield self

    def after_power_loss(self, moment: int, chance: random.Random, target: Path) -> None:
        """Makes `target` one of the folders that a power loss after `moment` operations could leave."""
        done = self.operations[:moment]
        synced = {}  # node → how many operations were there when it was synced for the last time
        for number, operation in enumerate(done):
            if operation.kind == "sync":
                synced[id(operation.node)] = number
        mood = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))  # how much of what was not synced had happened
        bytes_of: dict[int, bytearray] = {}
        names_of: dict[int, dict[str, Node]] = {}
        unsure = []
        for number, operation in enumerate(done):
            sure = number < synced.get(id(operation.node), -1)
            if operation.kind == "write":
                write(bytes_of.setdefault(id(operation.node), bytearray()), operation, sure, mood, chance)
            elif operation.kind != "sync":
                if sure:
                    rename(names_of.setdefault(id(operation.node), {}), operation)
                elif chance.random() < mood:
                    unsure.append(operation)
        if chance.random() < 0.5:
            chance.shuffle(unsure)
        for operation in unsure:
            rename(names_of.setdefault(id(operation.node), {}), operation)
        lay_out(self.tree, target, names_of, bytes_of)


def write(content, operation, sure, mood, chance):
    """Writes, or loses, or garbles what is not synced: the length of a file may be known before its bytes."""
    end = operation.offset + len(operation.data)
    happened = sure or chance.random() < mood
    if not happened and chance.random() < 0.5:
        return
    content.extend(b"\0" * (end - len(content)))
    if happened:
        content[operation.offset : end] = operation.data
    elif chance.random() < 0.5:
        content[operation.offset : end] = chance.randbytes(len(operation.data))


def rename(names, operation):
    if operation.kind == "remove":
        if names.get(operation.name) is operation.child:
            del names[operation.name]
    elif operation.kind == "add":
        names[operation.name] = operation.child
    else:
        if names.get(operation.name) is operation.child:
            del names[operation.name]
        names[operation.new_name] = operation.child


def lay_out(node, path, names_of, bytes_of):
    if not node.folder:
        path.write_bytes(bytes(bytes_of.get(id(node), b"")))
        return
    path.mkdir()
    for name, child in names_of.get(id(node), {}).items():
        lay_out(child, path / name, names_of, bytes_of)
