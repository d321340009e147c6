"""An editor that reads the whole file, thinks for a moment, and writes it back: two at once lose an edit."""

import os
import shutil
import sys
import time


def prepare(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    print(folder)


def edit(path, line):
    before = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            before = f.read()
    time.sleep(0.02)
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + line + "\n")
    print(line)


def count(path):
    files = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [path]
    lines = 0
    for name in files:
        with open(name, encoding="utf-8") as f:
            lines += sum(1 for _ in f)
    print(lines)


if __name__ == "__main__":
    {"prepare": prepare, "edit": edit, "count": count}[sys.argv[1]](*sys.argv[2:])
