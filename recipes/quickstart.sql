-- The database of quickstart.yaml: a small shop.  `scripts/quickstart` makes quickstart.db of it.
PRAGMA page_size = 1024;

CREATE TABLE customers (           -- INTEGER PRIMARY KEY: the rowid itself
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT,
    joined_at TEXT NOT NULL        -- ISO text
);

CREATE TABLE products (            -- a key of text, WITHOUT ROWID
    sku TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    price DECIMAL(10, 2) NOT NULL,
    in_stock BOOLEAN NOT NULL
) WITHOUT ROWID;

CREATE TABLE orders (              -- AUTOINCREMENT: an id is never used again
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed_at INTEGER NOT NULL,    -- milliseconds since 1970
    note TEXT                      -- mostly NULL
);

CREATE TABLE order_items (         -- a composite key
    order_id INTEGER NOT NULL REFERENCES orders (id),
    line INTEGER NOT NULL,
    sku TEXT NOT NULL REFERENCES products (sku),
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE TABLE visits (              -- many rows share a timestamp
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    page TEXT NOT NULL,
    seconds REAL
);

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO customers
SELECT i, 'customer ' || i, iif(i % 7 = 0, NULL, 'c' || i || '@example.com'),
       strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i * 40000, 'unixepoch')
FROM n;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
INSERT INTO products
SELECT printf('SKU-%03d', i), 'product ' || i, i * 1.25, i % 4 > 0
FROM n;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 240)
INSERT INTO orders (customer_id, placed_at, note)
SELECT i * 17 % 60 + 1, 1772323200000 + i * 3600500, iif(i % 40 = 0, 'ring twice', NULL)
FROM n;

INSERT INTO order_items
SELECT o.id, l.line, printf('SKU-%03d', (o.id * 7 + l.line) % 25 + 1), o.id % 3 + 1
FROM orders o, (SELECT 1 AS line UNION ALL SELECT 2 UNION ALL SELECT 3) l
WHERE l.line <= o.id % 3 + 1;

WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800)
INSERT INTO visits (at, page, seconds)
SELECT strftime('%Y-%m-%dT%H:%M:%S', 1772323200 + i / 5 * 60, 'unixepoch'), '/p/' || (i * 13 % 30),
       iif(i % 11 = 0, NULL, i % 90 / 4.0)
FROM n;
