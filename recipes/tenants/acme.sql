-- One of the databases of tenants.yaml.  `scripts/quickstart` makes acme.db of it.
PRAGMA page_size = 1024;
CREATE TABLE invoices (id INTEGER PRIMARY KEY AUTOINCREMENT, issued_on DATE NOT NULL, total DECIMAL(10, 2) NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)
INSERT INTO invoices (issued_on, total) SELECT date(1767225600 + i * 86400, 'unixepoch'), i * 3.25 FROM n;
INSERT INTO settings VALUES ('currency', 'EUR'), ('locale', 'de');
