-- What a buyer means to buy: nothing is held for a cart, and its prices are looked up when it is shown.
CREATE TABLE cart_lines (
    buyer_id      uuid        NOT NULL,
    sku           text        NOT NULL REFERENCES skus,
    quantity      bigint      NOT NULL CHECK (quantity BETWEEN 1 AND 999),
    -- what a unit cost when the buyer last chose this line: another price now is pointed out
    seen_price    bigint      NOT NULL CHECK (seen_price >= 0),
    seen_currency text        NOT NULL,
    added_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (buyer_id, sku)
);

-- SKUs as they are offered now: as they lie on the shelf of their currency, or as their seller says while
-- they are about to.
CREATE VIEW offers AS
    SELECT skus.sku, product_id, title, skus.state = 'published' AS published, skus.currency,
        coalesce(shelf.price, skus.price) AS price, coalesce(shelf.remaining, 0) AS free
    FROM skus
    LEFT JOIN sales ON sales.standing AND sales.currency = skus.currency
    LEFT JOIN sale_items AS shelf ON shelf.sale_id = sales.id AND shelf.sku = skus.sku;
