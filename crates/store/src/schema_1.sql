CREATE TABLE runs (
  run        INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  key        TEXT UNIQUE,
  plan_hash  TEXT NOT NULL,
  state      TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  calls      INTEGER NOT NULL,
  succeeded  INTEGER NOT NULL,
  failed     INTEGER NOT NULL,
  skipped    INTEGER NOT NULL,
  cancelled  INTEGER NOT NULL,
  denied     INTEGER NOT NULL,
  in_doubt   INTEGER NOT NULL,
  records    INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  head       INTEGER NOT NULL,
  checksum   INTEGER NOT NULL
) STRICT;

CREATE TABLE records (
  first   INTEGER PRIMARY KEY,
  payload TEXT NOT NULL,
  checks  BLOB NOT NULL
) STRICT;

CREATE TABLE blobs (
  run   INTEGER NOT NULL,
  hash  TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (run, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_hash ON blobs (hash);

CREATE TABLE cache (
  entry     BLOB PRIMARY KEY,
  value     TEXT NOT NULL,
  bytes     INTEGER NOT NULL,
  stored_ns INTEGER NOT NULL,
  ttl_ns    INTEGER,
  reads     TEXT NOT NULL,
  checksum  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_by_age ON cache (stored_ns, entry);

CREATE TABLE cache_reads (
  path  TEXT NOT NULL,
  entry BLOB NOT NULL,
  PRIMARY KEY (path, entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_reads_by_entry ON cache_reads (entry);

CREATE VIEW run_list AS
  SELECT run, id, name, key, state, datetime(created_ns / 1000000000, 'unixepoch') AS created,
         calls, succeeded, failed, in_doubt, records, bytes
  FROM runs ORDER BY created_ns DESC;

CREATE VIEW record_list AS
  SELECT runs.id AS run, (records.first & 4294967295) + each.key AS seq,
         strftime('%Y-%m-%d %H:%M:%f', json_extract(each.value, '$.at_ns') / 1e9, 'unixepoch') AS at,
         json_extract(each.value, '$.kind') AS kind, each.value AS record
  FROM records JOIN runs ON runs.run = records.first >> 32, json_each(records.payload) AS each
  ORDER BY records.first, each.key;
-- What somebody answered to a run's questions from another process; its own records say what came of it.
CREATE TABLE answers (
  run    INTEGER NOT NULL,
  call   TEXT NOT NULL,
  answer TEXT NOT NULL,
  value  TEXT,
  at_ns  INTEGER NOT NULL,
  PRIMARY KEY (run, call)
) STRICT, WITHOUT ROWID;
