-- The database of changes.yaml: orders that change.  `scripts/quickstart` makes changes.db of it.
PRAGMA page_size = 1024;

CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    total DECIMAL(10, 2) NOT NULL,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);

CREATE INDEX orders_by_change ON orders (updated_at);

CREATE TRIGGER orders_changed AFTER UPDATE OF state, total ON orders BEGIN
    UPDATE orders SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = new.id;
END;

CREATE TABLE stock (               -- a key of two columns
    site TEXT NOT NULL,
    sku TEXT NOT NULL,
    pieces INTEGER NOT NULL,
    version INTEGER NOT NULL,      -- one more with every change of the table
    PRIMARY KEY (site, sku)
) WITHOUT ROWID;

CREATE INDEX stock_by_version ON stock (version);

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)
INSERT INTO orders
SELECT i, iif(i % 5 = 0, 'paid', 'open'), i * 2.5,
       strftime('%Y-%m-%d %H:%M:%f', 1772323200 + i * 3600, 'unixepoch')
FROM n;

WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 59)
INSERT INTO stock
SELECT iif(i % 3 = 0, 'north', 'south'), printf('SKU-%03d', i), i * 7 % 40, i + 1 FROM n;

CREATE TABLE prices (sku TEXT PRIMARY KEY, price DECIMAL(10, 2) NOT NULL) WITHOUT ROWID;

INSERT INTO prices SELECT sku, pieces * 0.75 + 1 FROM stock;
