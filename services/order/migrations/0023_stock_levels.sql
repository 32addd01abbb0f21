-- What was told last of the units that can be had of each SKU (docs/adr/0022).
CREATE TABLE stock_levels (
    sku        text PRIMARY KEY REFERENCES skus,
    product_id uuid   NOT NULL,
    available  bigint NOT NULL,
    -- grows with every telling, over a restore as well: microseconds, or one more than before
    version    bigint NOT NULL
) WITH (fillfactor = 50); -- a row is rewritten on its own page
