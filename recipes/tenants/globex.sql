-- One of the databases of tenants.yaml: the ids are those of acme.db again, and one column is newer.
PRAGMA page_size = 1024;
CREATE TABLE invoices (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issued_on DATE NOT NULL, total DECIMAL(10, 2) NOT NULL, purchase_order TEXT
);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO invoices (issued_on, total, purchase_order)
SELECT date(1767225600 + i * 43200, 'unixepoch'), i * 7.5, iif(i % 3 = 0, 'PO-' || i, NULL) FROM n;
INSERT INTO settings VALUES ('currency', 'USD');
