-- The cache is made anew, with what keeps it right when several processes write: nothing could be kept in it before.
DROP TABLE cache;
DROP TABLE cache_reads;

CREATE TABLE cache (
  entry     BLOB PRIMARY KEY,
  tool      TEXT NOT NULL,
  value     TEXT NOT NULL,
  whole     TEXT,
  bytes     INTEGER NOT NULL,
  stored_ns INTEGER NOT NULL,
  reads     TEXT NOT NULL,
  checksum  INTEGER NOT NULL
) STRICT;
CREATE INDEX cache_by_age ON cache (stored_ns, entry, bytes, tool);

CREATE TABLE cache_reads (
  path  TEXT NOT NULL,
  entry BLOB NOT NULL,
  PRIMARY KEY (path, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_reads_by_entry ON cache_reads (entry);

-- Writes that go on, or of which nobody knows whether they took effect; nothing that reads below or above is stored.
CREATE TABLE cache_open (
  owner TEXT NOT NULL,
  call  TEXT NOT NULL,
  path  TEXT NOT NULL,
  PRIMARY KEY (owner, call, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_open_by_path ON cache_open (path, owner);

-- When a path was written last, counted in writes; older than `floor` is not known any more.
CREATE TABLE cache_written (
  path       TEXT PRIMARY KEY,
  generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_written_by_generation ON cache_written (generation);

CREATE TABLE cache_state (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  generation INTEGER NOT NULL,
  floor      INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  entries    INTEGER NOT NULL
) STRICT;
INSERT INTO cache_state VALUES (1, 0, 0, 0, 0);
