-- The database of routing.yaml: trackers that people carry.  `scripts/quickstart` makes routing.db of it.
PRAGMA page_size = 1024;

CREATE TABLE readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,              -- ISO text
    device_id TEXT NOT NULL,
    carrier TEXT,                  -- a person's name, sometimes unknown
    latitude REAL,
    longitude REAL,
    temperature REAL,
    quality INTEGER NOT NULL       -- 0: not to be trusted
);

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
INSERT INTO readings (at, device_id, carrier, latitude, longitude, temperature, quality)
SELECT strftime('%Y-%m-%dT%H:%M:%S', 1772323200 + i * 900, 'unixepoch'), printf('TRK-%04d', i % 12 * 37),
       iif(i % 12 = 5, NULL, 'carrier ' || (i % 12)), 52.5 + i * 0.0001234, 13.4 - i * 0.0000987,
       iif(i % 29 = 0, NULL, 18 + i % 50 / 10.0), i % 10 > 0
FROM n;
