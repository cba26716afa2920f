-- The database of patterns.yaml: a program that begins a new log table every month.
PRAGMA page_size = 1024;
CREATE TABLE log_2026_01 (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT);
CREATE TABLE log_2026_02 (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT);
CREATE TABLE log_debug (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT);
CREATE TABLE machines (id INTEGER PRIMARY KEY, name TEXT NOT NULL, hall TEXT);
CREATE TABLE shifts (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE tmp_import (line TEXT);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
INSERT INTO log_2026_01 (at, level, message)
SELECT 1767225600 + i * 1000, iif(i % 20 = 0, 'error', 'info'), 'message ' || i FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO log_2026_02 (at, level, message) SELECT 1769904000 + i * 1000, 'info', 'message ' || i FROM n;
INSERT INTO log_debug (at, level, message) VALUES (1769904000, 'debug', 'noise');
INSERT INTO machines VALUES (1, 'press', 'A'), (2, 'lathe', 'A'), (3, 'oven', 'B');
INSERT INTO shifts VALUES (1, 'early'), (2, 'late'), (3, 'night');
INSERT INTO tmp_import VALUES ('half a row');
