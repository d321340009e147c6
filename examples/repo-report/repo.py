"""What the example's tools do: one command per tool, facts about a git repository as JSON on standard output."""

import collections
import datetime
import json
import os
import subprocess
import sys

LANGUAGES = {
    "rs": "Rust", "py": "Python", "md": "Markdown", "toml": "TOML", "yaml": "YAML", "yml": "YAML", "json": "JSON",
    "sh": "Shell", "ts": "TypeScript", "js": "JavaScript", "html": "HTML", "css": "CSS", "lock": "lock files", "svg": "SVG",
}
TRY_AGAIN = 75  # EX_TEMPFAIL: fanout's toolbox file names it as transient


def git(*words):
    """The lines a git command prints."""
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.splitlines()


def bar(n, most, width=24):
    """A bar for a table, at least one block long for what is not nothing."""
    return "█" * max(1 if n else 0, round(width * n / most)) if most else ""


def authors():
    counts = collections.Counter(git("log", "--format=%an"))
    return [{"author": name, "commits": n} for name, n in counts.most_common(10)]


def months():
    counts = collections.Counter(git("log", "--date=format:%Y-%m", "--format=%ad"))
    most = max(counts.values(), default=0)
    return [{"month": m, "commits": n, " ": bar(n, most)} for m, n in sorted(counts.items())[-12:]]


def churn(top):
    commits, added, removed = collections.Counter(), collections.Counter(), collections.Counter()
    for line in git("log", "--numstat", "--no-renames", "--format="):
        parts = line.split("\t")
        if len(parts) == 3 and parts[0] != "-":
            commits[parts[2]] += 1
            added[parts[2]] += int(parts[0])
            removed[parts[2]] += int(parts[1])
    ranked = sorted(commits, key=lambda f: (-added[f] - removed[f], f))[: int(top)]
    return [{"file": f, "commits": commits[f], "added": added[f], "removed": removed[f]} for f in ranked]


def largest(top):
    sizes = []
    for line in git("ls-tree", "-r", "-l", "HEAD"):
        facts, path = line.split("\t", 1)
        size = facts.split()[3]
        if size != "-":
            sizes.append((int(size), path))
    return [{"file": p, "bytes": n} for n, p in sorted(sizes, key=lambda s: (-s[0], s[1]))[: int(top)]]


def extensions(top):
    counts = collections.Counter(
        os.path.splitext(line.rstrip("\n"))[1].lstrip(".") for line in sys.stdin if os.path.splitext(line.rstrip("\n"))[1]
    )
    return [{"extension": e, "files": n} for e, n in counts.most_common(int(top))]


def lines(extension):
    files = total = blank = 0
    for path in git("ls-files", "--", "*." + extension):
        try:
            with open(path, encoding="utf-8") as f:
                files += 1
                for line in f:
                    total += 1
                    blank += not line.strip()
        except (OSError, UnicodeDecodeError):
            continue
    return {"language": LANGUAGES.get(extension, extension), "files": files, "lines": total, "blank": blank}


def dependencies():
    done = subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-2000:])
        sys.exit(TRY_AGAIN)
    packages = [p for p in json.loads(done.stdout)["packages"] if p["source"]]
    return [
        {"package": p["name"], "version": p["version"], "licence": p.get("license") or "in a file of its own"}
        for p in sorted(packages, key=lambda p: (p["name"], p["version"]))
    ]


def licences():
    counts = collections.Counter(p["licence"].replace("/", " OR ") for p in json.load(sys.stdin)["packages"])
    return [{"licence": name, "packages": n} for name, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]


def sum_counts():
    counts = [int(line.rsplit(":", 1)[1]) for line in sys.stdin if ":" in line]
    return {"sum": sum(counts), "files": len(counts)}


def clock():
    if os.environ.get("FANOUT_ATTEMPT") == "1":
        print("busy: try again later", file=sys.stderr)
        sys.exit(TRY_AGAIN)
    print(datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), end="")
    sys.exit(0)


def markdown(body):
    """A body as Markdown: a list of objects is a table, another list is a list, the rest is text."""
    rows = [row for row in body if row is not None] if isinstance(body, list) else body
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        columns = list(rows[0])
        head = ["| " + " | ".join(columns) + " |", "|" + "|".join("---" for _ in columns) + "|"]
        return "\n".join(head + ["| " + " | ".join(cell(row.get(c)) for c in columns) + " |" for row in rows])
    if isinstance(rows, list):
        return "\n".join("- " + cell(row) for row in rows)
    return str(rows)


def cell(value):
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|")


def begin():
    args = json.load(sys.stdin)
    os.makedirs(os.path.dirname(args["path"]) or ".", exist_ok=True)
    with open(args["path"], "w", encoding="utf-8") as f:
        f.write(f"# {args['title']}\n\n{markdown(args['body'])}\n")
    return {"path": args["path"]}


def append():
    args = json.load(sys.stdin)
    # Read, then write the whole: as an editor does. Two of these at once would lose a section.
    with open(args["path"], encoding="utf-8") as f:
        before = f.read()
    with open(args["path"], "w", encoding="utf-8") as f:
        f.write(f"{before}\n## {args['title']}\n\n{markdown(args['body'])}\n")
    return {"section": args["title"]}


def words(path):
    with open(path, encoding="utf-8") as f:
        return len(f.read().split())


COMMANDS = [authors, months, churn, largest, extensions, lines, dependencies, licences, sum_counts, clock, begin, append, words]

if __name__ == "__main__":
    command = {c.__name__: c for c in COMMANDS}[sys.argv[1]]
    json.dump(command(*sys.argv[2:]), sys.stdout, ensure_ascii=False)
